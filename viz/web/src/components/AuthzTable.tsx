// Which authorizations allowed requests and connections, and what was denied.
import { useMemo } from "react";
import type { AuthzRow } from "../api/types";
import { count, NONE, rate } from "../format/numbers";
import { useNarrow } from "../url/media";
import styles from "./AuthzTable.module.css";
import { DataTable, type Column } from "./DataTable";
import { SuccessRate } from "./HealthMark";

/** On a narrow screen the server stands below what allows its clients. */
const columns = (narrow: boolean): Column<AuthzRow>[] => [
  {
    id: "authorization", header: "Authorization", sort: (row) => row.authorization ?? "",
    cell: (row) => (
      <span className={styles.lines}>
        <span title={row.authorization ?? undefined}>{row.authorization ?? "none: denied"}</span>
        {narrow && <span className={styles.server} title={row.server}>{row.server}</span>}
      </span>
    ),
  },
  { id: "server", header: "Server", width: 15, wideOnly: true, sort: (row) => row.server, cell: (row) => <span title={row.server}>{row.server}</span> },
  { id: "route", header: "Route", width: 8, wideOnly: true, sort: (row) => row.route, cell: (row) => <span title={row.route}>{row.route}</span> },
  { id: "denied", header: "Denied/s", width: 5.5, narrowWidth: 4.8, numeric: true, sort: (row) => row.deniedRps, cell: (row) => rate(row.deniedRps) },
  { id: "success", header: "Success", width: 6.6, narrowWidth: 6.2, numeric: true, sort: (row) => row.http?.successRate, cell: (row) => <SuccessRate value={row.http?.successRate} /> },
  { id: "rps", header: "RPS", width: 4.6, numeric: true, wideOnly: true, sort: (row) => row.http?.rps, cell: (row) => rate(row.http?.rps) },
  { id: "connections", header: "Conns", width: 5, numeric: true, wideOnly: true, sort: (row) => row.connections, cell: (row) => (row.connections > 0 ? count(row.connections) : NONE) },
];

export function AuthzTable({ rows }: { rows: AuthzRow[] }) {
  const narrow = useNarrow();
  const shown = useMemo(() => columns(narrow), [narrow]);
  return <DataTable caption="Authorizations" columns={shown} rows={rows} rowKey={(row) => `${row.server}\n${row.route}\n${row.authorization}`} initialSort={{ id: "authorization", desc: false }} sortParam="authz" />;
}
