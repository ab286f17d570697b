// Live calls summed over equal ends, method and path.
import { useMemo } from "react";
import { Link } from "react-router";
import { DataTable, type Column } from "../components/DataTable";
import { SuccessRate } from "../components/HealthMark";
import { PathText } from "../components/PathText";
import { ResourceLink } from "../components/ResourceLink";
import { count, millis } from "../format/numbers";
import { useTo } from "../url/hooks";
import { nameOf, type TopRow } from "./calls";

export function TopTable({ rows }: { rows: TopRow[] }) {
  const to = useTo();
  const columns = useMemo<Column<TopRow>[]>(() => {
    const end = (of: TopRow["source"]) => of.resource ? <ResourceLink resource={of.resource} /> : <span title={of.address}>{nameOf(of)}</span>;
    const ends: Column<TopRow>[] = [
      { id: "source", header: "Source", width: 8, sort: (row) => nameOf(row.source), cell: (row) => end(row.source), wideOnly: true },
      { id: "destination", header: "Destination", width: 8, wideOnly: true, sort: (row) => nameOf(row.destination), cell: (row) => end(row.destination) },
    ];
    return [
      { id: "path", header: "Call", sort: (row) => row.path, cell: (row) => (
        <PathText method={row.method} path={row.path} />
      ) },
      ...ends,
      { id: "success", header: "Success", width: 6.6, numeric: true, sort: (row) => 1 - row.failures / row.count, cell: (row) => <SuccessRate value={1 - row.failures / row.count} /> },
      { id: "count", header: "Count", width: 4.8, numeric: true, sort: (row) => row.count, cell: (row) => count(row.count) },
      { id: "best", header: "Best", width: 5.2, numeric: true, wideOnly: true, sort: (row) => row.best, cell: (row) => millis(row.best) },
      { id: "worst", header: "Worst", width: 5.2, numeric: true, wideOnly: true, sort: (row) => row.worst, cell: (row) => millis(row.worst) },
      { id: "last", header: "Last", width: 5.2, numeric: true, wideOnly: true, sort: (row) => row.last, cell: (row) => millis(row.last) },
      { id: "tap", header: "Tap", width: 3.6, wideOnly: true, cell: (row) => row.destination.resource && (
        <Link to={to("/tap", { ns: row.destination.resource.namespace, res: `${row.destination.resource.type}/${row.destination.resource.name}`, method: row.method, path: row.path, run: "1" })}
          aria-label={`Tap ${row.method} ${row.path}`}>Tap</Link>
      ) },
    ];
  }, [to]);
  return <DataTable caption="Live calls" columns={columns} rows={rows} rowKey={(row) => row.key} initialSort={{ id: "count", desc: true }} sortParam="top" />;
}
