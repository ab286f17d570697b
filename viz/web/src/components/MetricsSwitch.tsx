// Chooses between the figures of HTTP and of TCP, for all tables of a page.
import { useSearchParams } from "react-router";
import { useSetParams } from "../url/hooks";
import { readChoice } from "../url/params";
import type { Metrics } from "./StatTable";
import { Switch } from "./Switch";

const CHOICES = ["http", "tcp"] as const;

export function useMetrics(): Metrics {
  const [params] = useSearchParams();
  return readChoice(params, "metrics", CHOICES, "http");
}

export function MetricsSwitch() {
  const metrics = useMetrics();
  const setParams = useSetParams();
  return (
    <Switch label="Figures" value={metrics} options={[["http", "HTTP"], ["tcp", "TCP"]]}
      onChange={(value) => setParams({ metrics: value }, { metrics: "http" })} />
  );
}
