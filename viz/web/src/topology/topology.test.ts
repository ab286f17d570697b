import ELK from "elkjs/lib/elk.bundled.js";
import { describe, expect, it } from "vitest";
import { cluster, readQuery, topology as simulated } from "../../dev/simulation/answers";
import type { Topology } from "../api/types";
import { edgeWidth, isHidden } from "./appearance";
import { labelPoints, overlap } from "./labels";
import { computeLayout, layoutKey, pathOf, type Box, type Layout } from "./layout";
import { buildView, defaultGrouping, groupId } from "./view";

const elk = new ELK();
const all = (): Topology => simulated(readQuery(new URLSearchParams()));
const emojivoto = (): Topology => simulated(readQuery(new URLSearchParams({ namespace: "emojivoto" })));
const places = (layout: Layout) => JSON.stringify([[...layout.nodes].sort(), [...layout.edges].sort(), [...layout.groups].sort()]);

describe("layout", () => {
  it("stays when only figures change, and whatever the order of the answer", async () => {
    const before = emojivoto();
    const after: Topology = {
      nodes: [...before.nodes].reverse().map((node) => ({ ...node, http: null })),
      edges: [...before.edges].reverse().map((edge) => ({ ...edge, http: null, secured: { state: "plaintext", reason: "x" } })),
    };
    const [a, b] = [buildView(before, "boxes", new Set()), buildView(after, "boxes", new Set())];
    expect(layoutKey(b)).toBe(layoutKey(a));
    expect(places(await computeLayout(elk, b))).toBe(places(await computeLayout(elk, a)));
  });
  it("is computed again when an edge appears", () => {
    const before = emojivoto();
    const edge = { ...before.edges[0], id: "new", source: before.nodes[0]?.id ?? "", target: before.nodes[2]?.id ?? "" } as Topology["edges"][number];
    const after = { ...before, edges: [...before.edges, edge] };
    expect(layoutKey(buildView(after, "none", new Set()))).not.toBe(layoutKey(buildView(before, "none", new Set())));
  });
  it("places 200 workloads without overlaps, callers left of what they call", async () => {
    const view = buildView(all(), "boxes", new Set());
    const started = Date.now();
    const layout = await computeLayout(elk, view);
    console.log(`${view.nodes.length} nodes, ${view.edges.length} edges: ${Date.now() - started} ms, ${layout.width} x ${layout.height}`);
    expect(layout.nodes.size).toBe(view.nodes.length);
    expect(layout.edges.size).toBe(view.edges.length);
    const boxes = [...layout.nodes.values()];
    const overlaps = boxes.filter((a, i) => boxes.slice(i + 1).some((b) =>
      a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height));
    expect(overlaps).toEqual([]);
    const web = layout.nodes.get("emojivoto/deployment/web");
    const voting = layout.nodes.get("emojivoto/deployment/voting");
    expect(web && voting && web.x + web.width <= voting.x).toBe(true);
    const covered = [...layout.labels.values()].filter(({ x, y }) => boxes.some((box) => overlap(box, { x: x - 40, y: y - 12, width: 80, height: 24 }) > 0));
    expect(covered, "figures of edges cover no node").toEqual([]);
  }, 30_000);
});

describe("view", () => {
  it("folds namespaces when there are many workloads", () => {
    const topology = all();
    expect(cluster.workloads.length).toBeGreaterThanOrEqual(200);
    expect(defaultGrouping(topology)).toBe("folded");
    expect(defaultGrouping(emojivoto())).toBe("boxes");
    const view = buildView(topology, "folded", new Set(["emojivoto"]));
    expect(view.nodes.length).toBeLessThan(30);
    expect(view.nodes.some((node) => node.id === "emojivoto/deployment/web")).toBe(true);
    expect(view.groups.map((group) => group.id)).toEqual([groupId("emojivoto")]);
    expect(view.edges.every((edge) => edge.source !== edge.target)).toBe(true);
  });
});

describe("appearance", () => {
  it("grows with requests and hides what is asked", () => {
    expect([0, 9, 99, 1e9].map(edgeWidth)).toEqual([1.2, 2.8, 4.4, 7]);
    const view = buildView(emojivoto(), "none", new Set());
    const shown = view.edges.filter((edge) => !isHidden(edge, new Set(["healthy"]))).map((edge) => edge.id);
    expect(shown).toContain("emojivoto/deployment/web>emojivoto/deployment/voting");
    expect(shown).not.toContain("emojivoto/deployment/web>emojivoto/deployment/emoji");
    expect(shown).toContain("outside>emojivoto/deployment/web");
  });
  it("draws paths and finds room for labels", () => {
    const points = [{ x: 0, y: 0 }, { x: 50, y: 0 }, { x: 50, y: 200 }, { x: 90, y: 200 }];
    expect(pathOf(points)).toBe("M0 0L41 0Q50 0 50 9L50 191Q50 200 59 200L90 200");
    const label = (boxes: Box[]) => labelPoints(new Map([["edge", points]]), boxes, []).get("edge");
    expect(label([])).toEqual({ x: 50, y: 100 });
    expect(label([{ x: 60, y: 60, width: 200, height: 66 }]), "beside a node").toEqual({ x: 50, y: 150 });
    expect(pathOf([])).toBe("");
  });
});
