// How many of the running pods are meshed.
import type { PodCount } from "../api/types";
import { NONE } from "../format/numbers";
import styles from "./Meshed.module.css";

export function Meshed({ pods }: { pods: PodCount | null }) {
  if (!pods) return <>{NONE}</>;
  const partly = pods.meshed < pods.running;
  return (
    <span className={partly ? styles.partly : undefined} title={`${pods.meshed} of ${pods.running} running pods are meshed${pods.failed > 0 ? `; ${pods.failed} failed` : ""}`}>
      {pods.meshed}/{pods.running}
      {pods.failed > 0 && <span className={styles.failed}> {pods.failed} failed</span>}
    </span>
  );
}

/** The same as a bar, for tables of namespaces and nodes. */
export function MeshedBar({ meshed, running }: { meshed: number; running: number }) {
  return <ShareBar share={running > 0 ? meshed / running : 0} />;
}

/** A share of a whole. The figure beside it says the same. */
export function ShareBar({ share }: { share: number }) {
  return (
    <span className={styles.bar} aria-hidden>
      <span className={styles.fill} style={{ width: `${share * 100}%` }} />
    </span>
  );
}
