// The topology of the whole cluster.
import { Page } from "../components/Page";
import { TopologyPanel } from "../topology/TopologyPanel";

export function TopologyPage() {
  return (
    <Page title="Topology" lead="All namespaces. Those that are folded unfold to their workloads." command={["edges", "all", "-A", "-o", "wide"]}>
      <TopologyPanel />
    </Page>
  );
}
