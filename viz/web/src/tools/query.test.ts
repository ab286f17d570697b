import { describe, expect, it } from "vitest";
import { apiParams, commandWords, mistake, readQuery, readResource, tapParams } from "./query";

const query = (text: string) => readQuery(new URLSearchParams(text));

describe("queries of the tools", () => {
  it("become parameters of the API", () => {
    expect(apiParams(query("ns=emojivoto&res=deployment/web&tores=deployment/voting"))).toEqual({
      namespace: "emojivoto", type: "deployment", name: "web", to_namespace: "emojivoto", to_type: "deployment", to_name: "voting",
    });
    expect(tapParams(query("ns=emojivoto&method=GET&rps=5"))).toMatchObject({ type: "namespace", name: "emojivoto", method: "GET", max_rps: "5", to_namespace: "" });
  });
  it("become commands", () => {
    expect(commandWords("tap", query("ns=emojivoto&res=deployment/web&tores=service/voting-svc&tons=other&path=/api&rps=7")))
      .toEqual(["tap", "deploy/web", "-n", "emojivoto", "--to", "svc/voting-svc", "--to-namespace", "other", "--path", "/api", "--max-rps", "7"]);
    expect(commandWords("routes", query("ns=a&path=/x"))).toEqual(["routes", "ns/a"]);
  });
  it("say what is wrong", () => {
    expect(mistake(query(""))).toContain("namespace");
    expect(mistake(query("ns=a&res=secret/x"))).toContain("secret/x");
    expect(mistake(query("ns=a&rps=-1"))).toContain("above 0");
    expect(mistake(query("ns=a&res=pod/web-0"))).toBeNull();
    expect(readResource("deployment/")).toBeNull();
  });
});
