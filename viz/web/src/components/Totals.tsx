// The mesh in six figures, three of them with their course.
import type { ReactNode } from "react";
import { Link } from "react-router";
import type { Overview } from "../api/types";
import { healthOf } from "../format/health";
import { count, millis, percent, plural, rate } from "../format/numbers";
import { SuccessRate } from "./HealthMark";
import { Icon } from "./Icon";
import { MeshedBar, ShareBar } from "./Meshed";
import { useTo } from "../url/hooks";
import { Sparkline } from "./Sparkline";
import styles from "./Totals.module.css";

export function Totals({ data }: { data: Overview }) {
  const { totals, series } = data;
  const { secured } = totals;
  const outside = secured.plaintextFromOutside;
  const securedShare = secured.total > 0 ? secured.connections / secured.total : null;
  return (
    <dl className={styles.totals}>
      <Figure label="Success rate" value={<SuccessRate value={totals.http.successRate} />}
        chart={<Sparkline values={series.successRate} min={0.9} max={1} tone={healthOf(totals.http.successRate)} />} />
      <Figure label="Requests per second" value={rate(totals.http.rps)} chart={<Sparkline values={series.rps} />} />
      <Figure label="P99 latency" value={millis(totals.http.latencyMs.p99)} chart={<Sparkline values={series.p99} />} />
      <Figure label="Meshed pods" value={`${count(totals.pods.meshed)} of ${count(totals.pods.running)}`} chart={<MeshedBar {...totals.pods} />} />
      <Figure label="Secured in the mesh" title="Connections between meshed pods that are secured" value={percent(securedShare)} chart={<ShareBar share={securedShare ?? 0} />}
        note={outside > 0 && <><Icon name="unlock" size={14} /> {plural(outside, "open connection")} from outside in plaintext</>} />
      <Figure label="Nodes with a proxy" value={`${totals.nodes.withProxy} of ${totals.nodes.total}`} chart={<ShareBar share={totals.nodes.total > 0 ? totals.nodes.withProxy / totals.nodes.total : 0} />} />
    </dl>
  );
}

/** `note` is what the figure leaves out. */
function Figure({ label, title = label, value, chart, note }: { label: string; title?: string; value: ReactNode; chart?: ReactNode; note?: ReactNode }) {
  const to = useTo();
  return (
    <div className={styles.figure}>
      <dt title={title}>{label}</dt>
      <dd className={styles.value}>{value}</dd>
      {chart && <dd className={styles.chart}>{chart}</dd>}
      {note && <dd className={styles.note}><Link to={to("/topology", { as: "list" })}>{note}</Link></dd>}
    </div>
  );
}
