import { describe, expect, it } from "vitest";
import type { Edge, ResourceDetail, StatRow } from "../api/types";
import { deniedRate, peersOf } from "./peers";

const ref = (type: "deployment" | "pod", name: string) => ({ namespace: "shop", type, name }) as const;
const row = (name: string): StatRow => ({ ...ref("deployment", name), status: null, pods: null, http: null, tcp: null, spark: null, split: null });
const edge = (source: Edge["source"], destination: Edge["destination"], rest: Partial<Edge> = {}): Edge => ({
  source, destination, sourceLabel: source ? null : "not meshed", destinationLabel: destination ? null : "192.0.2.1",
  clientId: null, serverId: null, secured: { state: "plaintext", reason: "no_tls_from_remote" }, openConnections: 0, ...rest,
});
const detail = (own: StatRow, edges: Edge[], inbound: StatRow[] = []): ResourceDetail => ({
  row: own, identities: [], labels: {}, inbound, outbound: [], split: [], pods: [], edges, worst: [], tap: "allowed",
  authorizations: [{ server: "web", route: "default", authorization: null, deniedRps: 0.2, http: null, connections: 0 }],
});
const names = (of: ReturnType<typeof peersOf>["inbound"]) => of.map((peer) => [peer.name, peer.connection]);

describe("the neighbours of a resource", () => {
  const web = ref("deployment", "web");
  it("are those with figures, and a refused client that only has connections", () => {
    const found = peersOf(detail(row("web"), [edge(null, web), edge(ref("deployment", "bot"), web, { secured: { state: "mtls" } })], [row("bot")]));
    expect(names(found.inbound)).toEqual([["bot", null], ["not meshed", "plaintext, none open now"]]);
    expect(found.outbound).toEqual([]);
  });
  it("are addresses outside too, but not the node's health checks", () => {
    const health = edge(null, web, { sourceLabel: "the node", secured: { state: "plaintext", reason: "from_node" } });
    const found = peersOf(detail(row("web"), [health, edge(web, null, { openConnections: 2 })]));
    expect([names(found.inbound), names(found.outbound)]).toEqual([[], [["192.0.2.1", "plaintext, 2 connections"]]]);
  });
  it("of a pod are owners of pods, so that no pod is shown twice", () => {
    const pod = ref("pod", "web-1");
    const found = peersOf(detail({ ...row("web-1"), ...pod }, [edge(ref("pod", "bot-1"), pod), edge(null, pod)], [row("bot")]));
    expect(found.inbound.map((peer) => peer.name)).toEqual(["bot", "not meshed"]);
  });
});

it("what policy refuses is summed over the rows", () => {
  expect(deniedRate(detail(row("web"), []))).toBe(0.2);
});
