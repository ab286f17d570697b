// A resource: its neighbours, its course, its calls, pods, connections and policy.
import { Link, useParams, useSearchParams } from "react-router";
import { useApi } from "../api/queries";
import type { ResourceDetail, ResourceRef, RouteRow, StatRow, VersionInfo } from "../api/types";
import { ResourceCharts } from "../charts/ResourceCharts";
import { AuthzTable } from "../components/AuthzTable";
import { Definition } from "../components/Definition";
import { EdgeTable } from "../components/EdgeTable";
import { Icon } from "../components/Icon";
import { LiveCalls } from "../components/LiveCalls";
import { Empty, Loaded } from "../components/Loaded";
import { MetricsSwitch, useMetrics } from "../components/MetricsSwitch";
import { Neighbours } from "../components/Neighbours";
import { Page, Section } from "../components/Page";
import { PodTable } from "../components/PodTable";
import { ResourceFacts } from "../components/ResourceFacts";
import { RouteTable } from "../components/RouteTable";
import { SplitTable } from "../components/SplitTable";
import { StatTable } from "../components/StatTable";
import { Tabs, type Tab } from "../components/Tabs";
import { WorstPaths } from "../components/WorstPaths";
import { isRaw, resourceCommand } from "../format/commands";
import { grafanaUrl } from "../format/grafana";
import { pluralType, typeOfPlural, typeTitle } from "../format/names";
import { useTo, useWindow } from "../url/hooks";
import { NotFound } from "./NotFound";
import styles from "./ResourcePage.module.css";

export function ResourcePage() {
  const { namespace = "", types, name = "" } = useParams();
  const type = typeOfPlural(types);
  // A new resource starts with an empty tap and empty tables.
  return type ? <Resource key={`${namespace}/${type}/${name}`} resource={{ namespace, type, name }} /> : <NotFound />;
}

function Resource({ resource }: { resource: ResourceRef }) {
  const { namespace, type, name } = resource;
  const window = useWindow();
  const [params] = useSearchParams();
  const tab = params.get("tab") ?? "live";
  const to = useTo();
  const version = useApi<VersionInfo>("version", {}, { interval: 60_000 });
  const query = useApi<ResourceDetail>(`resource/${[namespace, type, name].map(encodeURIComponent).join("/")}`);
  const grafana = version.data?.data.grafana;
  // On a dev VM there is no kubectl; the definition says which file it is from.
  const manifests = version.data?.data.source === "manifests";
  const url = grafana && grafanaUrl(grafana, resource);
  const ns = `/namespaces/${encodeURIComponent(namespace)}`;
  // What cannot be shown has no chart and no calls either.
  const failed = query.isError && !query.data;
  return (
    <Page title={name} command={isRaw(tab) && manifests ? undefined : resourceCommand(tab, resource, window, query.data?.data.labels)} rawCommand={isRaw(tab)}
      above={<><Link to={to(ns)}>{namespace}</Link> / <Link to={to(`${ns}/${pluralType(type)}`)}>{typeTitle(type)}</Link></>}
      aside={url && <a className={styles.grafana} href={url} target="_blank" rel="noreferrer"><Icon name="grafana" size={16} /> Grafana</a>}>
      <Section title={failed ? "The resource" : "Neighbours"}><Loaded query={query} rows={4}>{(detail) => <Neighbours detail={detail} />}</Loaded></Section>
      {query.data && query.data.data.worst.length > 0 && <Section title="What fails"><WorstPaths paths={query.data.data.worst} /></Section>}
      {!failed && <Section title="Over time"><ResourceCharts resource={resource} /></Section>}
      {query.data && (
        <>
          {query.data.data.split.length > 0 && <Section title="Split"><SplitTable rows={query.data.data.split} /></Section>}
          <Tabs label="More about the resource" tabs={tabsOf(query.data.data, query.data.meta.at, resource)} />
          <Section title="Facts"><ResourceFacts detail={query.data.data} /></Section>
        </>
      )}
    </Page>
  );
}

function tabsOf(detail: ResourceDetail, now: number, resource: ResourceRef): Tab[] {
  const { inbound, outbound, pods, edges, authorizations } = detail;
  return [
    { id: "live", label: "Live calls", content: () => <LiveCalls resource={resource} allowed={detail.tap} /> },
    { id: "inbound", label: "Inbound", count: inbound.length, content: () => <Peers rows={inbound} caption="Inbound" none="Nothing calls it" /> },
    { id: "outbound", label: "Outbound", count: outbound.length, content: () => <Peers rows={outbound} caption="Outbound" none="It calls nothing" /> },
    { id: "pods", label: "Pods", count: pods.length, content: () => pods.length > 0 ? <PodTable pods={pods} now={now} /> : <Empty title="No pods are running" /> },
    { id: "edges", label: "Edges", count: edges.length, content: () => edges.length > 0 ? <EdgeTable edges={edges} /> : <Empty title="No connections"><p>Nothing is connected to it, and it is connected to nothing.</p></Empty> },
    { id: "routes", label: "Routes", content: () => <Routes resource={resource} /> },
    { id: "authz", label: "Authorizations", count: authorizations.length, content: () => authorizations.length > 0 ? <AuthzTable rows={authorizations} /> : <Empty title="No authorizations were used" /> },
    { id: "yaml", label: "Definition", content: () => <Definition resource={resource} /> },
  ];
}

function Peers({ rows, caption, none }: { rows: StatRow[]; caption: string; none: string }) {
  const metrics = useMetrics();
  if (rows.length === 0) return <Empty title={none}><p>Within this time range.</p></Empty>;
  return (
    <>
      <div className={styles.switch}><MetricsSwitch /></div>
      <StatTable caption={caption} rows={rows} metrics={metrics} qualified withType />
    </>
  );
}

function Routes({ resource }: { resource: ResourceRef }) {
  const query = useApi<RouteRow[]>("routes", { namespace: resource.namespace, type: resource.type, name: resource.name, spark: true });
  return <Loaded query={query}>{(rows) => rows.length > 0 ? <RouteTable rows={rows} /> : <Empty title="No requests"><p>It received no HTTP requests within this time range.</p></Empty>}</Loaded>;
}
