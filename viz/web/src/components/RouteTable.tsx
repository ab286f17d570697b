// Figures by route.
import type { RouteRow } from "../api/types";
import { millis, rate } from "../format/numbers";
import { DataTable, type Column } from "./DataTable";
import { SuccessRate } from "./HealthMark";

const COLUMNS: Column<RouteRow>[] = [
  { id: "route", header: "Route", sort: (row) => row.route, cell: (row) => <span title={row.route}>{row.route}</span> },
  { id: "service", header: "Service", width: 12, wideOnly: true, sort: (row) => row.service, cell: (row) => <span title={row.service}>{row.service}</span> },
  { id: "success", header: "Success", width: 6.6, numeric: true, sort: (row) => row.http.successRate, cell: (row) => <SuccessRate value={row.http.successRate} /> },
  { id: "rps", header: "RPS", width: 4.6, numeric: true, sort: (row) => row.http.rps, cell: (row) => rate(row.http.rps) },
  { id: "p50", header: "P50", width: 5.2, numeric: true, wideOnly: true, sort: (row) => row.http.latencyMs.p50, cell: (row) => millis(row.http.latencyMs.p50) },
  { id: "p95", header: "P95", width: 5.2, numeric: true, wideOnly: true, sort: (row) => row.http.latencyMs.p95, cell: (row) => millis(row.http.latencyMs.p95) },
  { id: "p99", header: "P99", width: 5.2, numeric: true, sort: (row) => row.http.latencyMs.p99, cell: (row) => millis(row.http.latencyMs.p99) },
];

export function RouteTable({ rows }: { rows: RouteRow[] }) {
  return <DataTable caption="Routes" columns={COLUMNS} rows={rows} rowKey={(row) => `${row.service}\n${row.route}`} initialSort={{ id: "route", desc: false }} sortParam="routes" />;
}
