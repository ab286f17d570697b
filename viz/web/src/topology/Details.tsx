// What is known of the selected node or edge.
import { useContext, useEffect, useRef } from "react";
import { Icon } from "../components/Icon";
import { Meshed } from "../components/Meshed";
import { SuccessRate } from "../components/HealthMark";
import { ResourceLink } from "../components/ResourceLink";
import { Secured } from "../components/Secured";
import { bytesPerSecond, count, millis, plural, rate } from "../format/numbers";
import { typeTitle } from "../format/names";
import styles from "./Details.module.css";
import { MapActions } from "./MapActions";
import type { View, ViewEdge, ViewNode } from "./view";
import type { HttpStats } from "../api/types";

export function Details({ view, id, onClose, below = false }: { view: View; id: string; onClose: () => void; below?: boolean }) {
  const node = view.nodes.find((item) => item.id === id);
  const edge = view.edges.find((item) => item.id === id);
  const panel = useRef<HTMLElement>(null);
  // A button of these details that chose something else is gone: the keyboard goes on from here.
  const first = useRef(id);
  useEffect(() => {
    if (first.current === id) return;
    first.current = "";
    if (document.activeElement === document.body) panel.current?.focus({ preventScroll: true });
  }, [id]);
  if (!node && !edge) return null;
  return (
    <aside ref={panel} tabIndex={-1} className={`${styles.details} ${below ? styles.below : styles.beside}`} aria-label="Details" onKeyDown={(event) => event.key === "Escape" && onClose()}>
      <button type="button" className={styles.close} aria-label="Close details" onClick={onClose}><Icon name="close" /></button>
      {node && <NodeDetails view={view} node={node} />}
      {edge && <EdgeDetails view={view} edge={edge} />}
    </aside>
  );
}

function NodeDetails({ view, node }: { view: View; node: ViewNode }) {
  const actions = useContext(MapActions);
  return (
    <>
      <p className={styles.kind}>{node.resource ? typeTitle(node.resource.type) : "Outside"}{node.kind === "unmeshed" ? ", not meshed" : ""}</p>
      <h3 className={styles.title}>{node.resource ? <ResourceLink resource={node.resource} /> : node.label}</h3>
      {node.kind === "namespace" && node.namespace !== null && (
        <button type="button" className={styles.unfold} onClick={() => actions.toggleOpen(node.namespace ?? "")}>Unfold {plural(node.members, "workload")}</button>
      )}
      <dl className={styles.figures}>
        <HttpFigures http={node.http} largest={node.kind === "namespace"} />
        {node.pods && <div><dt>Meshed</dt><dd><Meshed pods={node.pods} /></dd></div>}
      </dl>
      <EdgeButtons title="Called by" view={view} edges={view.edges.filter((edge) => edge.target === node.id)} end="source" />
      <EdgeButtons title="Calls" view={view} edges={view.edges.filter((edge) => edge.source === node.id)} end="target" />
    </>
  );
}

function EdgeButtons({ title, view, edges, end }: { title: string; view: View; edges: ViewEdge[]; end: "source" | "target" }) {
  const actions = useContext(MapActions);
  if (edges.length === 0) return null;
  return (
    <>
      <h4 className={styles.sub}>{title}</h4>
      <ul className={styles.edges}>
        {edges.map((edge) => (
          <li key={edge.id}>
            <button type="button" className={styles.edge} onClick={() => actions.select(edge.id)}>
              <span className={styles.name}>{view.nodes.find((node) => node.id === edge[end])?.label ?? edge[end]}</span>
              <SuccessRate value={edge.http?.successRate} />
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function EdgeDetails({ view, edge }: { view: View; edge: ViewEdge }) {
  const actions = useContext(MapActions);
  const end = (id: string) => {
    const node = view.nodes.find((item) => item.id === id);
    return <button type="button" className={styles.end} title={node?.label} onClick={() => actions.select(id)}>{node?.label ?? id}</button>;
  };
  return (
    <>
      <p className={styles.kind}>Edge</p>
      <h3 className={styles.title}>{end(edge.source)} <Icon name="arrow" size={15} title="to" /> {end(edge.target)}</h3>
      <p className={styles.secured}><Secured value={edge.secured} withReason /></p>
      <dl className={styles.figures}>
        <HttpFigures http={edge.http} />
        <div><dt>Connections</dt><dd>{count(edge.tcp.openConnections)}</dd></div>
        <div><dt>Read</dt><dd>{bytesPerSecond(edge.tcp.readBytesPerSecond)}</dd></div>
        <div><dt>Written</dt><dd>{bytesPerSecond(edge.tcp.writeBytesPerSecond)}</dd></div>
      </dl>
    </>
  );
}

function HttpFigures({ http, largest = false }: { http: HttpStats | null; largest?: boolean }) {
  if (!http) return <div><dt>HTTP</dt><dd>no requests</dd></div>;
  return (
    <>
      <div><dt>Success rate</dt><dd><SuccessRate value={http.successRate} /></dd></div>
      <div><dt>Requests/s</dt><dd>{rate(http.rps)}</dd></div>
      {(["p50", "p95", "p99"] as const).map((which) => (
        <div key={which}><dt>{which.toUpperCase()}{largest ? " (largest)" : ""}</dt><dd>{millis(http.latencyMs[which])}</dd></div>
      ))}
    </>
  );
}
