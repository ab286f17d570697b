// The requests or connections from one node to another: a line, its arrow, its lock, its figures.
import { EdgeLabelRenderer, type EdgeProps } from "@xyflow/react";
import { memo } from "react";
import { Icon } from "../components/Icon";
import { percent } from "../format/numbers";
import { isSecured, securedExplanation } from "../format/secured";
import { DASHES, edgeHealth, edgeWidth } from "./appearance";
import type { FlowEdge } from "./flow";
import { pathOf } from "./layout";
import styles from "./TrafficEdge.module.css";

export const TrafficEdge = memo(function TrafficEdge({ data }: EdgeProps<FlowEdge>) {
  if (!data) return null;
  const { edge, points, at, emphasis, labelled } = data;
  const health = edgeHealth(edge);
  const width = edgeWidth(edge.http?.rps);
  const secured = isSecured(edge.secured);
  const path = pathOf(points);
  return (
    <>
      <g data-edge={edge.id} className={`${styles.edge} ${styles[health]} ${styles[emphasis]}`}>
        <path d={path} className={styles.hit} />
        <path d={path} data-line className={styles.line} strokeWidth={width} strokeDasharray={DASHES[health]} />
        <path d={arrow(points, 5 + width)} className={styles.arrow} />
      </g>
      <EdgeLabelRenderer>
        <div className={`${styles.label} ${styles[`text-${health}`]} ${styles[`label-${emphasis}`]} ${labelled || !secured ? styles.kept : ""}`}
          style={{ transform: `translate(-50%, -50%) translate(${at.x}px, ${at.y}px)` }} title={securedExplanation(edge.secured)}>
          <span className={secured ? styles.lock : styles.unlock}><Icon name={secured ? "lock" : "unlock"} size={13} title={secured ? "secured" : "plaintext"} /></span>
          {labelled && edge.http && <span>{percent(edge.http.successRate)}</span>}
        </div>
      </EdgeLabelRenderer>
    </>
  );
});

/** A triangle at the end of the line, which comes from the left or from above. */
function arrow(points: { x: number; y: number }[], size: number): string {
  const end = points.at(-1);
  const before = points.at(-2);
  if (!end || !before) return "";
  const down = Math.abs(end.y - before.y) > Math.abs(end.x - before.x);
  return down
    ? `M${end.x} ${end.y}l${-size * 0.6} ${-size}h${size * 1.2}z`
    : `M${end.x} ${end.y}l${-size} ${-size * 0.6}v${size * 1.2}z`;
}
