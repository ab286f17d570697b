// The mesh itself: components, node proxies, certificates, meshed pods per namespace, checks.
import { useState } from "react";
import { useApi } from "../api/queries";
import type { CheckReport, ControlPlane, NodeItem, VersionInfo } from "../api/types";
import { CheckResults } from "../components/CheckResults";
import { Components } from "../components/Components";
import { Certificates } from "../components/Certificates";
import { Empty, Loaded } from "../components/Loaded";
import { MeshedTable } from "../components/MeshedTable";
import { NodeTable } from "../components/NodeTable";
import { Page, Section } from "../components/Page";
import styles from "./ControlPlanePage.module.css";

export function ControlPlanePage() {
  const control = useApi<ControlPlane>("control-plane");
  const nodes = useApi<NodeItem[]>("nodes");
  const version = useApi<VersionInfo>("version", {}, { interval: 60_000 });
  // Without Kubernetes there are only the commands of `weft viz`.
  const onKubernetes = version.data?.data.source === "kubernetes";
  const [checking, setChecking] = useState(false);
  const check = useApi<CheckReport>("check", {}, { enabled: checking, interval: false });
  const run = () => {
    if (checking) void check.refetch();
    else setChecking(true);
  };
  return (
    <Page title="Control plane" lead="What the mesh itself is made of: its components, and one proxy on every node." 
      command={onKubernetes ? ["weft", "check"] : undefined} rawCommand>
      <Section title="Node proxies" lead="One proxy per node carries the connections of all meshed pods there.">
        <Loaded query={nodes} rows={5}>
          {(items) => items.length > 0 ? <NodeTable nodes={items} now={nodes.data?.meta.at ?? 0} /> : <Empty title="No nodes are known" />}
        </Loaded>
      </Section>
      <Section title="Components"><Loaded query={control} rows={5}>{(data) => <Components components={data.components} now={control.data?.meta.at ?? 0} />}</Loaded></Section>
      <Section title="Certificates"><Loaded query={control} rows={2}>{(data) => <Certificates control={data} now={control.data?.meta.at ?? 0} />}</Loaded></Section>
      <Section title="Check" lead={onKubernetes ? <>What the dashboard itself can see. <code>weft check</code> in a terminal checks more: certificates, the installation, every node.</> : "What the dashboard itself can see."}
        aside={<button type="button" className={styles.run} onClick={run} disabled={check.isFetching}>{check.isFetching ? "Checking…" : "Run checks"}</button>}>
        {checking
          ? <Loaded query={check} rows={6}>{(report) => <CheckResults report={report} />}</Loaded>
          : <Empty title="Not run yet"><p>Checks look at components, Prometheus, the proxies and the tap API. They take a few seconds.</p></Empty>}
      </Section>
      <Section title="Meshed pods per namespace"><Loaded query={control} rows={6}>{(data) => <MeshedTable rows={data.namespaces} />}</Loaded></Section>
    </Page>
  );
}
