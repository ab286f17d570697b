// Live calls of a resource, as long as this is shown.
import { useState } from "react";
import { Link } from "react-router";
import type { ResourceDetail, ResourceRef } from "../api/types";
import { TapStatus } from "../tap/TapStatus";
import { TopTable } from "../tap/TopTable";
import { useTap } from "../tap/useTap";
import { useTo } from "../url/hooks";
import { Empty } from "./Loaded";
import styles from "./LiveCalls.module.css";

const REASONS: Record<Exclude<ResourceDetail["tap"], "allowed">, [string, string]> = {
  disabled: ["Tap is disabled", "The pods or their namespace carry the annotation viz.linkerd.io/disable-tap."],
  not_meshed: ["Calls cannot be seen", "None of its pods is meshed."],
};

export function LiveCalls({ resource, allowed }: { resource: ResourceRef; allowed: ResourceDetail["tap"] }) {
  const [running, setRunning] = useState(true);
  const to = useTo();
  const tap = useTap(running && allowed === "allowed" ? { namespace: resource.namespace, type: resource.type, name: resource.name, max_rps: 100 } : null);
  if (allowed !== "allowed") {
    const [title, why] = REASONS[allowed];
    return <Empty title={title}><p>{why}</p></Empty>;
  }
  return (
    <>
      <div className={styles.bar}>
        <TapStatus tap={tap} />
        <div className={styles.actions}>
          <Link to={to("/tap", { ns: resource.namespace, res: `${resource.type}/${resource.name}`, run: "1" })}>Single calls</Link>
          <button type="button" className={styles.button} onClick={() => setRunning(!running)}>{running ? "Stop" : "Start"}</button>
        </div>
      </div>
      {tap.top.length > 0 ? <TopTable rows={tap.top} /> : !tap.error && <Empty title={running ? "No call yet" : "Stopped"} />}
    </>
  );
}
