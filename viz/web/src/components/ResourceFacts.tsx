// What does not change: identities, labels.
import type { ResourceDetail } from "../api/types";
import styles from "./ResourceFacts.module.css";

export function ResourceFacts({ detail }: { detail: ResourceDetail }) {
  const labels = Object.entries(detail.labels);
  // A service has neither: both are those of the pods that it stands for.
  const of = detail.row.type === "service" ? " of its pods" : "";
  return (
    <dl className={styles.facts}>
      <div><dt>Identity{of}</dt><dd>{detail.identities.length > 0 ? detail.identities.map((identity) => <code key={identity} className={styles.value} title={identity}>{identity}</code>) : "none: not meshed"}</dd></div>
      <div><dt>Labels{of}</dt><dd>{labels.length > 0 ? labels.map(([name, value]) => <code key={name} className={styles.value} title={`${name}=${value}`}>{name}={value}</code>) : "none"}</dd></div>
    </dl>
  );
}
