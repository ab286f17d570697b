// Where the figures of edges are written: on their lines, and over no node, no title and no other figures if there is room.
import type { Box, Point } from "./layout";

/** What figures need at the distance at which they are largest. */
const WIDTH = 128;
const HEIGHT = 36;
/** Most edges show a lock only, so figures may come closer to each other than to nodes. */
const SMALL = { width: 76, height: 30 };
/** How far figures may stand beside the middle of an upright line. */
const SIDE = 34;
const TITLE = { width: 220, height: 48 };

export function labelPoints(edges: ReadonlyMap<string, Point[]>, nodes: Iterable<Box>, groups: Iterable<Box>): Map<string, Point> {
  const fixed = [...nodes, ...[...groups].map((group) => ({ ...group, height: TITLE.height, width: Math.min(TITLE.width, group.width) }))];
  const written: Box[] = [];
  const points = new Map<string, Point>();
  for (const [id, line] of edges) {
    const near = fixed.filter((box) => touches(box, line));
    let best: Point | null = null;
    let least = Infinity;
    for (const { point, length } of candidates(line)) {
      const own = around(point, WIDTH, HEIGHT);
      const small = around(point, SMALL.width, SMALL.height);
      // A longer piece is better only among places that are equally free.
      const cost = near.reduce((sum, box) => sum + overlap(own, box), 0) * 2 + written.reduce((sum, box) => sum + overlap(small, box), 0) - Math.min(length, 500) / 1000;
      if (cost < least) [best, least] = [point, cost];
    }
    if (!best) continue;
    points.set(id, best);
    written.push(around(best, SMALL.width, SMALL.height));
  }
  return points;
}

/** The middle of each piece of a line, more of long ones, and to the left and right of upright ones, still on the line. */
function candidates(line: Point[]): { point: Point; length: number }[] {
  return line.slice(1).flatMap((b, i) => {
    const a = line[i] as Point;
    const length = Math.hypot(b.x - a.x, b.y - a.y);
    const shares = length > 160 ? [0.5, 0.25, 0.75, 0.1, 0.9] : [0.5];
    return (a.x === b.x ? [0, SIDE, -SIDE] : [0]).flatMap((side) =>
      shares.map((share) => ({ point: { x: a.x + (b.x - a.x) * share + side, y: a.y + (b.y - a.y) * share }, length: side === 0 ? length : 0 })));
  });
}

function around({ x, y }: Point, width: number, height: number): Box {
  return { x: x - width / 2, y: y - height / 2, width, height };
}

/** Whether a box lies where the figures of a line could. */
function touches(box: Box, line: Point[]): boolean {
  const [xs, ys] = [line.map((point) => point.x), line.map((point) => point.y)];
  return box.x < Math.max(...xs) + WIDTH && box.x + box.width > Math.min(...xs) - WIDTH
    && box.y < Math.max(...ys) + HEIGHT && box.y + box.height > Math.min(...ys) - HEIGHT;
}

/** The area that two boxes share. */
export function overlap(a: Box, b: Box): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}
