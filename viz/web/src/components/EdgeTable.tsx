// Connections with the identities of both ends, and the reason where they are not secured.
import { useMemo } from "react";
import type { Edge, ResourceRef } from "../api/types";
import { refKey, shortIdentity } from "../format/names";
import { count, NONE } from "../format/numbers";
import { securedLabel } from "../format/secured";
import { useNarrow } from "../url/media";
import { DataTable, type Column } from "./DataTable";
import { ResourceLink } from "./ResourceLink";
import { Secured } from "./Secured";
import styles from "./EdgeTable.module.css";

/** On a narrow screen the namespace, which the identity has too, leaves its place to the name. */
function end(ref: ResourceRef | null, label: string | null, identity: string | null, narrow: boolean) {
  const none = narrow && ref ? `${ref.namespace}, no identity` : "no identity";
  return (
    <span className={styles.end}>
      {ref ? <ResourceLink resource={ref} qualified={!narrow} /> : <span title={label ?? undefined}>{label ?? "unknown"}</span>}
      <span className={styles.identity} title={identity ?? undefined}>{identity ? shortIdentity(identity) : none}</span>
    </span>
  );
}

const name = (ref: ResourceRef | null, label: string | null) => (ref ? `${ref.namespace}/${ref.name}` : label);

const columns = (narrow: boolean): Column<Edge>[] => [
  { id: "source", header: narrow ? "Source" : "Source and its identity", sort: (edge) => name(edge.source, edge.sourceLabel), cell: (edge) => end(edge.source, edge.sourceLabel, edge.clientId, narrow) },
  { id: "destination", header: narrow ? "Destination" : "Destination and its identity", sort: (edge) => name(edge.destination, edge.destinationLabel), cell: (edge) => end(edge.destination, edge.destinationLabel, edge.serverId, narrow) },
  { id: "secured", header: "Secured", width: 18, narrowWidth: 8, sort: (edge) => securedLabel(edge.secured), cell: (edge) => <Secured value={edge.secured} withReason /> },
  { id: "open", header: "Open", width: 4.5, numeric: true, wideOnly: true, sort: (edge) => edge.openConnections, cell: (edge) => count(edge.openConnections) || NONE },
];

export function EdgeTable({ edges }: { edges: Edge[] }) {
  const narrow = useNarrow();
  const shown = useMemo(() => columns(narrow), [narrow]);
  return <DataTable caption="Connections" columns={shown} rows={edges} rowKey={edgeKey} initialSort={{ id: "source", desc: false }} sortParam="edges" />;
}

function edgeKey(edge: Edge): string {
  const of = (ref: ResourceRef | null, label: string | null) => (ref ? refKey(ref) : label);
  return [of(edge.source, edge.sourceLabel), of(edge.destination, edge.destinationLabel), edge.clientId, edge.serverId, JSON.stringify(edge.secured)].join("\n");
}
