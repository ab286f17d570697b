// A namespace: its topology, and a table for each type of resource that it has.
import { useMemo } from "react";
import { useParams } from "react-router";
import { useApi } from "../api/queries";
import { RESOURCE_TYPES, type StatRow } from "../api/types";
import { Empty, Loaded } from "../components/Loaded";
import { MetricsSwitch, useMetrics } from "../components/MetricsSwitch";
import { Page, Section } from "../components/Page";
import { StatTable } from "../components/StatTable";
import { TypeLinks } from "../components/TypeLinks";
import { windowFlags } from "../format/cli";
import { pluralTitle } from "../format/names";
import { TopologyPanel } from "../topology/TopologyPanel";
import { useWindow } from "../url/hooks";

export function Namespace() {
  const { namespace = "" } = useParams();
  const metrics = useMetrics();
  const window = useWindow();
  const query = useApi<StatRow[]>("tps-reports", { type: "all", namespace, spark: true });
  const rows = query.data?.data;
  const types = useMemo(() => RESOURCE_TYPES.filter((type) => rows?.some((row) => row.type === type)), [rows]);
  // A namespace that cannot be shown has no topology and no tables.
  const failed = query.isError && !query.data;
  return (
    <Page title={namespace} above="Namespace" aside={<MetricsSwitch />} command={["stat", "all", "-n", namespace, "--unmeshed", ...windowFlags(window), ...(metrics === "tcp" ? ["-o", "wide"] : [])]}>
      {!failed && <TopologyPanel namespace={namespace} />}
      {types.length > 0 && <TypeLinks types={types} namespace={namespace} />}
      {query.data
        ? types.map((type) => (
          <Section key={type} title={pluralTitle(type)}>
            <Loaded query={query}>{(all) => <StatTable caption={pluralTitle(type)} rows={all.filter((row) => row.type === type)} metrics={metrics} />}</Loaded>
          </Section>
        ))
        : <Section title="Resources"><Loaded query={query} rows={8}>{() => null}</Loaded></Section>}
      {rows?.length === 0 && (
        <Section title="Resources">
          <Empty title={`Nothing is known of ${namespace}`}><p>The namespace does not exist, has no pods, or the dashboard may not read it.</p></Empty>
        </Section>
      )}
    </Page>
  );
}
