// How many pods of each namespace are meshed.
import type { ControlPlane, ResourceRef } from "../api/types";
import { DataTable, type Column } from "./DataTable";
import { MeshedBar } from "./Meshed";
import { ResourceLink } from "./ResourceLink";

type Row = ControlPlane["namespaces"][number];
const asRef = (row: Row): ResourceRef => ({ namespace: row.namespace, type: "namespace", name: row.namespace });

const COLUMNS: Column<Row>[] = [
  { id: "namespace", header: "Namespace", sort: (row) => row.namespace, cell: (row) => <ResourceLink resource={asRef(row)} /> },
  { id: "meshed", header: "Meshed pods", width: 7, numeric: true, sort: (row) => row.meshed, cell: (row) => `${row.meshed}/${row.running}` },
  { id: "share", header: "Share", width: 12, narrowWidth: 8, sort: (row) => (row.running > 0 ? row.meshed / row.running : null), cell: (row) => <MeshedBar meshed={row.meshed} running={row.running} /> },
];

export function MeshedTable({ rows }: { rows: Row[] }) {
  return <DataTable caption="Meshed pods per namespace" columns={COLUMNS} rows={rows} rowKey={(row) => row.namespace} initialSort={{ id: "namespace", desc: false }} sortParam="meshed" />;
}
