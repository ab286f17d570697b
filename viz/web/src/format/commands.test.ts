import { describe, expect, it } from "vitest";
import { isRaw, resourceCommand } from "./commands";

const web = { namespace: "shop", type: "deployment", name: "web" } as const;
const line = (tab: string, labels?: Record<string, string>) => resourceCommand(tab, web, "10m", labels).join(" ");

describe("the command of a tab", () => {
  it("is about the resource itself", () => {
    expect(line("edges")).toBe("edges deploy/web -n shop -o wide");
    expect(line("authz")).toBe("authz deploy/web -n shop -t 10m");
  });
  it("chooses the resource's pods by the labels that they have in common", () => {
    expect(line("pods", { tier: "front", app: "web" })).toBe("stat po -n shop -l app=web,tier=front --unmeshed -t 10m");
    expect(line("pods")).toBe("stat po -n shop --unmeshed -t 10m");
    expect(resourceCommand("pods", { namespace: "shop", type: "namespace", name: "shop" }, "1m", { a: "b" }).join(" ")).toBe("stat po -n shop --unmeshed");
  });
  it("is kubectl's for a definition", () => {
    expect([isRaw("yaml"), isRaw("edges")]).toEqual([true, false]);
    expect(line("yaml")).toBe("kubectl get deploy/web -n shop -o yaml");
  });
});
