// All namespaces with their figures.
import { useSearchParams } from "react-router";
import { useApi } from "../api/queries";
import type { StatRow } from "../api/types";
import { FilterField } from "../components/FilterField";
import { Empty, Loaded } from "../components/Loaded";
import { MetricsSwitch, useMetrics } from "../components/MetricsSwitch";
import { Page, Section } from "../components/Page";
import { StatTable } from "../components/StatTable";
import { windowFlags } from "../format/cli";
import { useWindow } from "../url/hooks";

export function Namespaces() {
  const metrics = useMetrics();
  const window = useWindow();
  const [params] = useSearchParams();
  const text = (params.get("q") ?? "").toLowerCase();
  const query = useApi<StatRow[]>("tps-reports", { type: "namespace", spark: true });
  return (
    <Page title="Namespaces" lead="Requests and connections that the pods of each namespace received." aside={<><FilterField label="Filter by name" /><MetricsSwitch /></>}
      command={["stat", "ns", "--unmeshed", ...windowFlags(window), ...(metrics === "tcp" ? ["-o", "wide"] : [])]}>
      <Section title={metrics === "http" ? "HTTP" : "TCP"}>
        <Loaded query={query} rows={8}>
          {(rows) => rows.length === 0
            ? <Empty title="No namespaces"><p>The server sees no namespace: it may lack the right to list them, or the cluster is empty. Run <code>weft viz check</code>.</p></Empty>
            : <StatTable caption="Namespaces" rows={rows.filter((row) => row.name.toLowerCase().includes(text))} metrics={metrics} />}
        </Loaded>
      </Section>
    </Page>
  );
}
