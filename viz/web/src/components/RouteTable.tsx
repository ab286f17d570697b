// Figures by route.
import type { RouteRow } from "../api/types";
import { DataTable, type Column } from "./DataTable";
import { figureColumns } from "./FigureColumns";

const COLUMNS: Column<RouteRow>[] = [
  { id: "route", header: "Route", sort: (row) => row.route, cell: (row) => <span title={row.route}>{row.route}</span> },
  { id: "service", header: "Service", width: 12, wideOnly: true, sort: (row) => row.service, cell: (row) => <span title={row.service}>{row.service}</span> },
  ...figureColumns<RouteRow>(true),
];

export function RouteTable({ rows }: { rows: RouteRow[] }) {
  return <DataTable caption="Routes" columns={COLUMNS} rows={rows} rowKey={(row) => `${row.service}\n${row.route}`} initialSort={{ id: "route", desc: false }} sortParam="routes" />;
}
