// Turns a view and its layout into React Flow's nodes and edges.
import { Position, type Edge, type Node } from "@xyflow/react";
import { edgeHealth } from "./appearance";
import type { Box, Direction, Layout, Point } from "./layout";
import type { View, ViewEdge, ViewNode } from "./view";

/** How an item stands out: found or selected, connected to what is selected, or in the background. */
export type Emphasis = "strong" | "normal" | "dim";

export type WorkloadFlowNode = Node<{ node: ViewNode; emphasis: Emphasis; selected: boolean }, "workload">;
export type GroupFlowNode = Node<{ namespace: string; foldable: boolean }, "group-box">;
export type FlowNode = WorkloadFlowNode | GroupFlowNode;
export type FlowEdge = Edge<{ edge: ViewEdge; points: Point[]; at: Point; emphasis: Emphasis; labelled: boolean }, "traffic">;

interface Marks {
  find: string;
  select: string | null;
  hidden: ReadonlySet<string>;
  foldable: boolean;
}

export function toFlow(view: View, layout: Layout, marks: Marks): { nodes: FlowNode[]; edges: FlowEdge[] } {
  const near = neighbours(view, marks.select);
  const text = marks.find.trim().toLowerCase();
  const nodes: FlowNode[] = [];
  for (const group of view.groups) {
    const box = layout.groups.get(group.id);
    if (box) nodes.push({ id: group.id, type: "group-box", ...placed(box, layout.direction), zIndex: -1, data: { namespace: group.namespace, foldable: marks.foldable } });
  }
  for (const node of view.nodes) {
    const box = layout.nodes.get(node.id);
    if (!box) continue;
    const found = text !== "" && matches(node, text);
    const emphasis: Emphasis = text !== "" ? (found ? "strong" : "dim") : near ? (near.has(node.id) ? "normal" : "dim") : "normal";
    nodes.push({ id: node.id, type: "workload", ...placed(box, layout.direction), data: { node, emphasis, selected: node.id === marks.select } });
  }
  const edges: FlowEdge[] = [];
  for (const edge of view.edges) {
    const points = layout.edges.get(edge.id);
    const at = layout.labels.get(edge.id);
    if (!points || !at || marks.hidden.has(edge.id)) continue;
    const health = edgeHealth(edge);
    const touched = edge.id === marks.select || edge.source === marks.select || edge.target === marks.select;
    edges.push({
      id: edge.id, source: edge.source, target: edge.target, type: "traffic", zIndex: touched ? 2 : health === "bad" ? 1 : 0,
      data: { edge, points, at, emphasis: near ? (touched ? "strong" : "dim") : "normal", labelled: touched || health === "bad" || health === "warn" },
    });
  }
  return { nodes, edges };
}

export function matches(node: ViewNode, text: string): boolean {
  return `${node.namespace ?? ""}/${node.label}`.toLowerCase().includes(text);
}

/** The selected node or edge and what it touches; null if nothing is selected. */
function neighbours(view: View, select: string | null): Set<string> | null {
  if (!select) return null;
  const near = new Set<string>();
  for (const edge of view.edges) {
    if (edge.id !== select && edge.source !== select && edge.target !== select) continue;
    near.add(edge.source).add(edge.target);
  }
  if (view.nodes.some((node) => node.id === select)) near.add(select);
  return near.size > 0 ? near : null;
}

/** Sizes and handles are given, so that React Flow needs to measure nothing. */
function placed({ x, y, width, height }: Box, direction: Direction) {
  const handle = (type: "source" | "target", end: boolean) => direction === "right"
    ? { type, position: end ? Position.Right : Position.Left, x: end ? width : 0, y: height / 2, width: 1, height: 1 }
    : { type, position: end ? Position.Bottom : Position.Top, x: width / 2, y: end ? height : 0, width: 1, height: 1 };
  return {
    position: { x, y }, width, height, draggable: false, selectable: false, connectable: false, focusable: false,
    handles: [handle("target", false), handle("source", true)],
  };
}
