// The table of figures of resources: HTTP with small charts, or TCP.
import { useMemo } from "react";
import { useApi } from "../api/queries";
import type { StatRow, VersionInfo } from "../api/types";
import { bytesPerSecond, count } from "../format/numbers";
import { refKey, typeTitle } from "../format/names";
import { grafanaUrl } from "../format/grafana";
import { DataTable, type Column } from "./DataTable";
import { figureColumns } from "./FigureColumns";
import { Icon } from "./Icon";
import { Meshed } from "./Meshed";
import { ResourceLink } from "./ResourceLink";
import styles from "./StatTable.module.css";

export type Metrics = "http" | "tcp";

interface Props {
  caption: string;
  rows: StatRow[];
  metrics: Metrics;
  qualified?: boolean;
  withType?: boolean;
}

export function StatTable({ caption, rows, metrics, qualified = false, withType = false }: Props) {
  const version = useApi<VersionInfo>("version", {}, { interval: 60_000 });
  const grafana = version.data?.data.grafana ?? null;
  const columns = useMemo(() => {
    const first = nameColumn(qualified, withType, grafana);
    return metrics === "http" ? [first, MESHED, ...HTTP] : [first, MESHED, ...TCP];
  }, [metrics, qualified, withType, grafana]);
  return <DataTable caption={caption} columns={columns} rows={rows} rowKey={refKey} initialSort={{ id: "name", desc: false }} />;
}

function nameColumn(qualified: boolean, withType: boolean, grafana: VersionInfo["grafana"]): Column<StatRow> {
  return {
    id: "name", header: "Name", sort: (row) => (qualified ? `${row.namespace}/${row.name}` : row.name),
    cell: (row) => {
      const url = grafana && grafanaUrl(grafana, row);
      return (
        <span className={styles.name}>
          <ResourceLink resource={row} qualified={qualified} withType={withType} />
          {url && (
            <a className={styles.grafana} href={url} target="_blank" rel="noreferrer" title={`${typeTitle(row.type)} ${row.name} in Grafana`}>
              <Icon name="grafana" size={15} title={`${row.name} in Grafana`} />
            </a>
          )}
        </span>
      );
    },
  };
}

const MESHED: Column<StatRow> = {
  id: "meshed", header: "Meshed", width: 5.5, wideOnly: true, numeric: true,
  sort: (row) => (row.pods && row.pods.running > 0 ? row.pods.meshed / row.pods.running : null),
  cell: (row) => <Meshed pods={row.pods} />,
};

const HTTP = figureColumns<StatRow>(true);

const TCP: Column<StatRow>[] = [
  { id: "connections", header: "Connections", width: 8, numeric: true, sort: (row) => row.tcp?.openConnections, cell: (row) => count(row.tcp?.openConnections) },
  { id: "read", header: "Read", width: 8, numeric: true, sort: (row) => row.tcp?.readBytesPerSecond, cell: (row) => bytesPerSecond(row.tcp?.readBytesPerSecond) },
  { id: "write", header: "Written", width: 8, numeric: true, sort: (row) => row.tcp?.writeBytesPerSecond, cell: (row) => bytesPerSecond(row.tcp?.writeBytesPerSecond) },
];
