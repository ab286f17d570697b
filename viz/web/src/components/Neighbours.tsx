// Who calls a resource and whom it calls, with figures of these calls.
import { Link } from "react-router";
import type { HttpStats, ResourceDetail } from "../api/types";
import { HEALTH_WORDS, healthOf } from "../format/health";
import { resourcePath, typeTitle } from "../format/names";
import { millis, percent, rate } from "../format/numbers";
import { deniedRate, peersOf, type Peer } from "../format/peers";
import { DASHES, edgeWidth } from "../topology/appearance";
import { useTo } from "../url/hooks";
import { HealthMark } from "./HealthMark";
import styles from "./Neighbours.module.css";

/** As many per side as fit; the tables below have all of them. */
const PER_SIDE = 6;
const ROW = 78;

export function Neighbours({ detail }: { detail: ResourceDetail }) {
  const { inbound, outbound } = peersOf(detail);
  const left = inbound.slice(0, PER_SIDE);
  const right = outbound.slice(0, PER_SIDE);
  const denied = deniedRate(detail);
  const rows = Math.max(left.length, right.length, 1);
  return (
    <div className={styles.scroll}>
      <div className={styles.graph} role="group" aria-label="Neighbours">
        <Side title="Called by" rows={left} more={inbound.length - left.length} none="Nothing calls it" />
        <Lines rows={left} height={rows * ROW} side="left" />
        <div className={styles.center}>
          <div className={`${styles.card} ${styles.self} ${styles[healthOf(detail.row.http?.successRate)]}`}>
            <span className={styles.name} title={detail.row.name}>{detail.row.name}</span>
            <Figures http={detail.row.http} />
            {denied > 0 && <span className={styles.denied}>refuses {rate(denied)} per second by policy</span>}
          </div>
        </div>
        <Lines rows={right} height={rows * ROW} side="right" />
        <Side title="Calls" rows={right} more={outbound.length - right.length} none="It calls nothing" />
      </div>
    </div>
  );
}

function Side({ title, rows, more, none }: { title: string; rows: Peer[]; more: number; none: string }) {
  const to = useTo();
  return (
    <div className={styles.side}>
      <h3 className={styles.sideTitle}>{title}</h3>
      {rows.length === 0 && <p className={styles.none}>{none}</p>}
      <ul className={styles.cards}>
        {rows.map(({ key, name, resource, http, connection }) => {
          const card = `${styles.card} ${styles[healthOf(http?.successRate)]}`;
          const content = <><span className={styles.name}>{name}</span><Figures http={http} connection={connection} /></>;
          return (
            <li key={key} className={styles.slot}>
              {resource
                ? <Link to={to(resourcePath(resource))} className={card} title={`${typeTitle(resource.type)} ${name} in ${resource.namespace}`}>{content}</Link>
                : <div className={`${card} ${styles.outside}`} title={name}>{content}</div>}
            </li>
          );
        })}
      </ul>
      {more > 0 && <p className={styles.none}>and {more} more, in the table below</p>}
    </div>
  );
}

function Figures({ http, connection = null }: { http: HttpStats | null; connection?: string | null }) {
  const health = healthOf(http?.successRate);
  if (!http) return <span className={styles.figures}>{connection ?? "no HTTP requests"}</span>;
  return (
    <span className={styles.figures}>
      <span className={styles.success}><HealthMark health={health} /> {percent(http.successRate)}<span className="visually-hidden">, {HEALTH_WORDS[health]}</span></span>
      <span>{rate(http.rps)} rps</span>
      <span>P99 {millis(http.latencyMs.p99)}</span>
    </span>
  );
}

/** Curves from the cards to the middle; their shape and width are those of the topology's edges. */
function Lines({ rows, height, side }: { rows: Peer[]; height: number; side: "left" | "right" }) {
  const middle = height / 2;
  const top = (height - rows.length * ROW) / 2;
  return (
    <svg className={styles.lines} viewBox={`0 0 100 ${height}`} preserveAspectRatio="none" height={height} aria-hidden focusable="false">
      {rows.map((row, i) => {
        const y = top + i * ROW + ROW / 2;
        const d = side === "left" ? `M0 ${y}C55 ${y} 45 ${middle} 100 ${middle}` : `M0 ${middle}C55 ${middle} 45 ${y} 100 ${y}`;
        const health = healthOf(row.http?.successRate);
        return <path key={row.key} d={d} className={styles[`line-${health}`]} strokeWidth={edgeWidth(row.http?.rps)} strokeDasharray={DASHES[health]} vectorEffect="non-scaling-stroke" fill="none" />;
      })}
    </svg>
  );
}
