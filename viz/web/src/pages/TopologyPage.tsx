// The topology of the whole cluster.
import { Page } from "../components/Page";
import { TopologyPanel } from "../topology/TopologyPanel";

export function TopologyPage() {
  return (
    <Page title="Topology" lead="All namespaces. Unfold a namespace to see its workloads." command={["edges", "deploy", "-A", "-o", "wide"]}>
      <TopologyPanel />
    </Page>
  );
}
