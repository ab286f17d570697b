import { describe, expect, it } from "vitest";
import { readChoice, readSet, readSort, readWindow, withParams, writeSet, writeSort } from "./params";

const params = (text: string) => new URLSearchParams(text);

describe("URL state", () => {
  it("falls back for what is missing or wrong", () => {
    expect(readWindow(params(""))).toBe("1m");
    expect(readWindow(params("w=1h"))).toBe("1h");
    expect(readWindow(params("w=99y"))).toBe("1m");
    expect(readChoice(params("m=udp"), "m", ["http", "tcp"], "http")).toBe("http");
  });
  it("leaves defaults out, and orders what it keeps", () => {
    expect(withParams(params("w=1h&q=x"), { w: "1m", a: "b" }, { w: "1m" }).toString()).toBe("a=b&q=x");
    expect(withParams(params("q=x"), { q: "" }).toString()).toBe("");
  });
  it("reads what it wrote", () => {
    const names = new Set(["a,b", "ü", "100%", "plain"]);
    expect(readSet(withParams(params(""), { open: writeSet(names) }), "open")).toEqual(names);
    expect(readSet(params("open=%25zz"), "open")).toEqual(new Set(["%zz"]));
    const sort = { id: "rps", desc: true };
    expect(readSort(writeSort(sort), ["name", "rps"], { id: "name", desc: false })).toEqual(sort);
    expect(readSort("-evil", ["name"], { id: "name", desc: false })).toEqual({ id: "name", desc: false });
  });
});
