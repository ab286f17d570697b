// Resources of one type, of one namespace or of all.
import { Link, useParams, useSearchParams } from "react-router";
import { useApi } from "../api/queries";
import { RESOURCE_TYPES, type StatRow } from "../api/types";
import { FilterField } from "../components/FilterField";
import { Empty, Loaded } from "../components/Loaded";
import { MetricsSwitch, useMetrics } from "../components/MetricsSwitch";
import { Page, Section } from "../components/Page";
import { StatTable } from "../components/StatTable";
import { TypeLinks } from "../components/TypeLinks";
import { shortType, unmeshedFlags, windowFlags } from "../format/cli";
import { pluralTitle, typeOfPlural } from "../format/names";
import { useTo, useWindow } from "../url/hooks";
import { NotFound } from "./NotFound";

export function Workloads() {
  const { namespace, types = "deployments" } = useParams();
  const type = typeOfPlural(types);
  const metrics = useMetrics();
  const window = useWindow();
  const to = useTo();
  const [params] = useSearchParams();
  const text = (params.get("q") ?? "").toLowerCase();
  const query = useApi<StatRow[]>("tps-reports", { type, namespace, spark: true }, { enabled: Boolean(type) });
  if (!type) return <NotFound />;
  return (
    <Page title={pluralTitle(type)} above={namespace && <Link to={to(`/namespaces/${encodeURIComponent(namespace)}`)}>{namespace}</Link>}
      lead={namespace ? undefined : "Of all namespaces."} aside={<><FilterField label="Filter by name" /><MetricsSwitch /></>}
      command={["stat", shortType(type), ...(namespace ? ["-n", namespace] : ["-A"]), ...unmeshedFlags(type), ...windowFlags(window), ...(metrics === "tcp" ? ["-o", "wide"] : [])]}>
      <TypeLinks types={RESOURCE_TYPES} current={type} namespace={namespace} />
      <Section title={metrics === "http" ? "HTTP" : "TCP"}>
        <Loaded query={query} rows={8}>
          {(rows) => {
            const shown = text ? rows.filter((row) => (namespace ? row.name : `${row.namespace}/${row.name}`).toLowerCase().includes(text)) : rows;
            return shown.length > 0
              ? <StatTable caption={pluralTitle(type)} rows={shown} metrics={metrics} qualified={!namespace} />
              : <Empty title={text ? "No name contains this" : `No ${pluralTitle(type).toLowerCase()}`}><p>{text ? "Change the filter." : `There are none${namespace ? ` in ${namespace}` : ""}. Look at another type.`}</p></Empty>;
          }}
        </Loaded>
      </Section>
    </Page>
  );
}
