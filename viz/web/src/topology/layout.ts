// Places nodes in layers, from left to right or, on narrow screens, from top to bottom. The same nodes and edges always get the same places, whatever their
// figures are: a layout is computed again only if its key changes.
import type { ELK, ElkExtendedEdge, ElkNode, LayoutOptions } from "elkjs/lib/elk-api";
import { labelPoints } from "./labels";
import type { View, ViewNode } from "./view";

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}
export interface Point {
  x: number;
  y: number;
}
export type Direction = "right" | "down";
export interface Layout {
  key: string;
  direction: Direction;
  nodes: ReadonlyMap<string, Box>;
  groups: ReadonlyMap<string, Box>;
  edges: ReadonlyMap<string, Point[]>;
  /** Where the figures of each edge are written. */
  labels: ReadonlyMap<string, Point>;
  width: number;
  height: number;
}

export function nodeSize(kind: ViewNode["kind"]): { width: number; height: number } {
  return kind === "namespace" ? { width: 232, height: 88 } : { width: 208, height: 66 };
}

/** Names what is placed, and nothing else. */
export function layoutKey(view: View, direction: Direction = "right"): string {
  const list = (items: { id: string }[]): string => items.map((item) => item.id).sort().join("\n");
  return [direction, list(view.nodes), list(view.edges), list(view.groups)].join("\n\n");
}

const OPTIONS: LayoutOptions = {
  "elk.algorithm": "layered",
  "elk.hierarchyHandling": "INCLUDE_CHILDREN",
  "elk.edgeRouting": "ORTHOGONAL",
  "elk.json.edgeCoords": "ROOT",
  "elk.json.shapeCoords": "ROOT",
  "elk.aspectRatio": "1.7",
  "elk.spacing.nodeNode": "24",
  "elk.spacing.componentComponent": "44",
  "elk.spacing.edgeNode": "18",
  "elk.spacing.edgeEdge": "12",
  "elk.layered.spacing.edgeNodeBetweenLayers": "24",
  "elk.layered.spacing.edgeEdgeBetweenLayers": "12",
  // Needs half the height of the default for 200 workloads.
  "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
  "elk.randomSeed": "1",
};
/** Between layers, the figures of edges have room: their width, or their height. */
const BETWEEN_LAYERS: Record<Direction, string> = { right: "150", down: "92" };
const GROUP_OPTIONS: LayoutOptions = { "elk.padding": "[top=64,left=20,bottom=20,right=20]" };

export async function computeLayout(elk: Pick<ELK, "layout">, view: View, direction: Direction = "right"): Promise<Layout> {
  const options = { ...OPTIONS, "elk.direction": direction.toUpperCase(), "elk.layered.spacing.nodeNodeBetweenLayers": BETWEEN_LAYERS[direction] };
  const grouped = new Map(view.groups.flatMap((group) => group.members.map((id) => [id, group.id] as const)));
  const leaf = (node: ViewNode): ElkNode => ({ id: node.id, ...nodeSize(node.kind) });
  // Sorted by id, so that the order in which the server lists things does not matter.
  const nodes = [...view.nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
  // Spacings are not inherited by boxes, so each gets all options.
  const children: ElkNode[] = [
    ...view.groups.map((group) => ({
      id: group.id, layoutOptions: { ...options, ...GROUP_OPTIONS }, children: nodes.filter((node) => grouped.get(node.id) === group.id).map(leaf),
    })),
    ...nodes.filter((node) => !grouped.has(node.id)).map(leaf),
  ];
  const edges: ElkExtendedEdge[] = [...view.edges].sort((a, b) => (a.id < b.id ? -1 : 1))
    .map((edge) => ({ id: edge.id, sources: [edge.source], targets: [edge.target] }));
  const root = await elk.layout({ id: "root", layoutOptions: options, children, edges });
  return { ...readLayout(root, layoutKey(view, direction)), direction };
}

function readLayout(root: ElkNode, key: string): Omit<Layout, "direction"> {
  const nodes = new Map<string, Box>();
  const groups = new Map<string, Box>();
  const edges = new Map<string, Point[]>();
  const visit = (node: ElkNode): void => {
    for (const child of node.children ?? []) {
      (child.children ? groups : nodes).set(child.id, { x: child.x ?? 0, y: child.y ?? 0, width: child.width ?? 0, height: child.height ?? 0 });
      visit(child);
    }
    for (const edge of node.edges ?? []) {
      const section = edge.sections?.[0];
      if (section) edges.set(edge.id, [section.startPoint, ...(section.bendPoints ?? []), section.endPoint]);
    }
  };
  visit(root);
  return { key, nodes, groups, edges, labels: labelPoints(edges, nodes.values(), groups.values()), width: root.width ?? 0, height: root.height ?? 0 };
}

/** A line through points, with rounded corners. */
export function pathOf(points: Point[], radius = 9): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M${r(first.x)} ${r(first.y)}`;
  rest.forEach((point, i) => {
    const next = rest[i + 1];
    const before = i === 0 ? first : (rest[i - 1] as Point);
    if (!next) {
      path += `L${r(point.x)} ${r(point.y)}`;
      return;
    }
    const a = towards(point, before, radius);
    const b = towards(point, next, radius);
    path += `L${r(a.x)} ${r(a.y)}Q${r(point.x)} ${r(point.y)} ${r(b.x)} ${r(b.y)}`;
  });
  return path;
}

function towards(from: Point, to: Point, distance: number): Point {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const share = Math.min(distance, length / 2) / length;
  return { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
}

function r(value: number): number {
  return Math.round(value * 10) / 10;
}
