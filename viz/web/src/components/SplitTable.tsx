// Backends of a service whose traffic is split, with their weights.
import type { StatRow } from "../api/types";
import { millis, rate } from "../format/numbers";
import { DataTable, type Column } from "./DataTable";
import { SuccessRate } from "./HealthMark";

const COLUMNS: Column<StatRow>[] = [
  { id: "leaf", header: "Destination", sort: (row) => row.split?.leaf, cell: (row) => row.split?.leaf ?? row.name },
  { id: "weight", header: "Weight", width: 6, numeric: true, sort: (row) => row.split?.weight, cell: (row) => row.split?.weight ?? "–" },
  { id: "success", header: "Success", width: 6.6, numeric: true, sort: (row) => row.http?.successRate, cell: (row) => <SuccessRate value={row.http?.successRate} /> },
  { id: "rps", header: "RPS", width: 4.6, numeric: true, sort: (row) => row.http?.rps, cell: (row) => rate(row.http?.rps) },
  { id: "p99", header: "P99", width: 5.4, numeric: true, sort: (row) => row.http?.latencyMs.p99, cell: (row) => millis(row.http?.latencyMs.p99) },
];

export function SplitTable({ rows }: { rows: StatRow[] }) {
  return <DataTable caption="Split" columns={COLUMNS} rows={rows} rowKey={(row) => `${row.split?.apex}\n${row.split?.leaf}`} initialSort={{ id: "leaf", desc: false }} sortParam="split" />;
}
