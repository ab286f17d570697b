import { describe, expect, it } from "vitest";
import { commandLine, quote, resourceArg } from "./cli";
import { healthOf } from "./health";
import { parseRefKey, resourcePath, shortIdentity, typeOfPlural } from "./names";
import { bytes, bytesPerSecond, count, duration, millis, percent, rate, until } from "./numbers";
import { securedExplanation, securedLabel } from "./secured";

describe("figures", () => {
  it("cuts success rates, so that 100% means no failure", () => {
    expect(percent(1)).toBe("100.00%");
    expect(percent(0.999_999)).toBe("99.99%");
    expect(percent(0.7549)).toBe("75.49%");
    expect(percent(0.29)).toBe("29.00%");
    expect(percent(0)).toBe("0.00%");
    expect(percent(null)).toBe("–");
    expect(percent(Number.NaN)).toBe("–");
  });
  it("writes rates and counts", () => {
    expect([0, 0.03, 20.1, 99.97, 1234, 2_500_000].map(rate)).toEqual(["0", "<0.1", "20.1", "100.0", "1.2k", "2.5M"]);
    expect([12, 999, 999.7, 999_960].map(count)).toEqual(["12", "999", "1.0k", "1.0M"]);
  });
  it("writes latencies", () => {
    expect([0, 0.5, 0.12, 2.5, 99, 140.2, 1234, 150_000].map(millis))
      .toEqual(["0 ms", "0.5 ms", "0.12 ms", "2.5 ms", "99 ms", "140 ms", "1.2 s", "2m 30s"]);
  });
  it("writes sizes and durations", () => {
    expect([0, 1023, 1536, 5 * 1024 ** 3].map(bytes)).toEqual(["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    expect(bytesPerSecond(null)).toBe("–");
    expect([0, 5, 65, 3600, 90_061].map(duration)).toEqual(["0s", "5s", "1m 5s", "1h", "1d 1h"]);
    expect(until(100, 40)).toBe("in 1m");
    expect(until(40, 100)).toBe("1m ago");
  });
  it("judges success rates", () => {
    expect([1, 0.99, 0.97, 0.94, null].map(healthOf)).toEqual(["good", "good", "warn", "bad", "none"]);
  });
});

describe("names", () => {
  it("encodes whatever a name holds", () => {
    expect(resourcePath({ namespace: "a/b", type: "pod", name: "<img>?" }))
      .toBe("/namespaces/a%2Fb/pods/%3Cimg%3E%3F");
    expect(resourcePath({ namespace: "shop", type: "namespace", name: "shop" })).toBe("/namespaces/shop");
  });
  it("reads types and references", () => {
    expect(typeOfPlural("deployments")).toBe("deployment");
    expect(typeOfPlural("gateways")).toBeUndefined();
    expect(parseRefKey("shop/deployment/cart")).toEqual({ namespace: "shop", type: "deployment", name: "cart" });
    expect(parseRefKey("shop/secret/cart")).toBeUndefined();
    expect(parseRefKey("shop")).toBeUndefined();
  });
  it("shortens identities", () => {
    expect(shortIdentity("web.emojivoto.serviceaccount.identity.linkerd.cluster.local")).toBe("web.emojivoto");
  });
});

describe("commands", () => {
  it("quotes for the shell", () => {
    expect(commandLine(["weft", "viz", "stat", resourceArg({ namespace: "a", type: "deployment", name: "web" })]))
      .toBe("weft viz stat deploy/web");
    expect(quote("$(reboot)'s")).toBe(`'$(reboot)'\\''s'`);
    expect(quote("")).toBe("''");
  });
});

describe("security", () => {
  it("explains known reasons and passes on others", () => {
    expect(securedLabel({ state: "same_node" })).toBe("same node");
    expect(securedExplanation({ state: "plaintext", reason: "no_tls_from_remote" })).toContain("not meshed");
    expect(securedExplanation({ state: "plaintext", reason: "x" })).toBe("Not secured: x");
  });
});
