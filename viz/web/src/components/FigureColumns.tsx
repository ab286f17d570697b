// The columns of HTTP figures that tables have in common, with small charts.
import type { HttpStats, Spark } from "../api/types";
import { healthOf } from "../format/health";
import { millis, rate } from "../format/numbers";
import type { Column } from "./DataTable";
import styles from "./FigureColumns.module.css";
import { SuccessRate } from "./HealthMark";
import { Sparkline } from "./Sparkline";

interface WithFigures {
  http: HttpStats | null;
  spark: Spark | null;
}

/** Success rate, requests per second and latencies; p50 and p95 only where there is room. */
export function figureColumns<T extends WithFigures>(withAllLatencies: boolean): Column<T>[] {
  const latency = (row: T, which: "p50" | "p95" | "p99") => row.http?.latencyMs[which] ?? null;
  const plain = (which: "p50" | "p95"): Column<T> => ({
    id: which, header: which.toUpperCase(), width: 5.2, numeric: true, wideOnly: true,
    sort: (row) => latency(row, which), cell: (row) => millis(latency(row, which)),
  });
  return [
    {
      id: "success", header: "Success", width: 11, narrowWidth: 5.9, numeric: true, sort: (row) => row.http?.successRate,
      cell: (row) => (
        <span className={styles.figure}>
          <Sparkline values={row.spark?.successRate} min={0.9} max={1} tone={healthOf(row.http?.successRate)} />
          <SuccessRate value={row.http?.successRate} />
        </span>
      ),
    },
    {
      id: "rps", header: "RPS", width: 9, narrowWidth: 3.8, numeric: true, sort: (row) => row.http?.rps,
      cell: (row) => <span className={styles.figure}><Sparkline values={row.spark?.rps} />{rate(row.http?.rps)}</span>,
    },
    ...(withAllLatencies ? [plain("p50"), plain("p95")] : []),
    {
      id: "p99", header: "P99", width: 9.5, narrowWidth: 5.1, numeric: true, sort: (row) => latency(row, "p99"),
      cell: (row) => <span className={styles.figure}><Sparkline values={row.spark?.p99} />{millis(latency(row, "p99"))}</span>,
    },
  ];
}
