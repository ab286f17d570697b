// Which authorizations allowed requests, and what was denied.
import type { AuthzRow } from "../api/types";
import { rate } from "../format/numbers";
import { DataTable, type Column } from "./DataTable";
import { SuccessRate } from "./HealthMark";

const COLUMNS: Column<AuthzRow>[] = [
  { id: "authorization", header: "Authorization", sort: (row) => row.authorization ?? "", cell: (row) => <span title={row.authorization ?? undefined}>{row.authorization ?? "none: denied"}</span> },
  { id: "server", header: "Server", width: 13, narrowWidth: 9, sort: (row) => row.server, cell: (row) => <span title={row.server}>{row.server}</span> },
  { id: "route", header: "Route", width: 8, wideOnly: true, sort: (row) => row.route, cell: (row) => <span title={row.route}>{row.route}</span> },
  { id: "denied", header: "Denied/s", width: 5.5, numeric: true, sort: (row) => row.deniedRps, cell: (row) => rate(row.deniedRps) },
  { id: "success", header: "Success", width: 6.6, numeric: true, sort: (row) => row.http?.successRate, cell: (row) => <SuccessRate value={row.http?.successRate} /> },
  { id: "rps", header: "RPS", width: 4.6, numeric: true, wideOnly: true, sort: (row) => row.http?.rps, cell: (row) => rate(row.http?.rps) },
];

export function AuthzTable({ rows }: { rows: AuthzRow[] }) {
  return <DataTable caption="Authorizations" columns={COLUMNS} rows={rows} rowKey={(row) => `${row.server}\n${row.route}\n${row.authorization}`} initialSort={{ id: "authorization", desc: false }} sortParam="authz" />;
}
