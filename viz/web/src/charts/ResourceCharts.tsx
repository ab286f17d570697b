// Success rate, requests and latencies of a resource over the time range.
import { lazy, Suspense } from "react";
import { useApi } from "../api/queries";
import type { ResourceRef, Series } from "../api/types";
import { Empty, Loaded, Loading } from "../components/Loaded";
import { millis, percent, rate } from "../format/numbers";
import styles from "./ResourceCharts.module.css";

const TimeChart = lazy(() => import("./TimeChart"));

export function ResourceCharts({ resource }: { resource: ResourceRef }) {
  const query = useApi<Series>("timeseries", { namespace: resource.namespace, type: resource.type, name: resource.name });
  return (
    <Loaded query={query} rows={4}>
      {(series) => series.rps.every((value) => value === null)
        ? <Empty title="No HTTP requests in this time range"><p>Connections are below. Other protocols have no requests that weft could count.</p></Empty>
        : (
          <Suspense fallback={<Loading rows={4} />}>
            <div className={styles.charts}>
              <TimeChart title="Success rate" {...series} format={percent} range={[null, 1]} lines={[{ label: "success", values: series.successRate, color: "--chart" }]} />
              <TimeChart title="Requests per second" {...series} format={rate} range={[0, null]} lines={[{ label: "requests", values: series.rps, color: "--chart" }]} />
              <TimeChart title="Latency" {...series} format={millis} range={[0, null]} lines={[
                { label: "P50", values: series.p50, color: "--chart" },
                { label: "P95", values: series.p95, color: "--chart-2", dash: [7, 3] },
                { label: "P99", values: series.p99, color: "--chart-3", dash: [2, 3] },
              ]} />
            </div>
          </Suspense>
        )}
    </Loaded>
  );
}
