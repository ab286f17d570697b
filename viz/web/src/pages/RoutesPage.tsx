// Figures by route.
import { useApi } from "../api/queries";
import type { RouteRow } from "../api/types";
import { Empty, Loaded } from "../components/Loaded";
import { Page, Section } from "../components/Page";
import { RouteTable } from "../components/RouteTable";
import { windowFlags } from "../format/cli";
import { apiParams, commandWords, mistake, readQuery } from "../tools/query";
import { QueryForm } from "../tools/QueryForm";
import { useWindow } from "../url/hooks";
import { useSearchParams } from "react-router";

export function RoutesPage() {
  const [params] = useSearchParams();
  const window = useWindow();
  const tool = readQuery(params);
  const wrong = mistake(tool);
  const query = useApi<RouteRow[]>("routes", { ...apiParams(tool), spark: true }, { enabled: !wrong });
  return (
    <Page title="Routes" lead="Figures of HTTP and gRPC routes. Requests that no route matches are in [DEFAULT]."
      command={wrong ? undefined : [...commandWords("routes", tool), ...windowFlags(window)]}>
      <Section title="Routes of what"><QueryForm matching={false} running={false} /></Section>
      <Section title="Routes">
        {wrong
          ? <Empty title="Nothing chosen"><p>{wrong}</p></Empty>
          : <Loaded query={query}>{(rows) => rows.length > 0 ? <RouteTable rows={rows} /> : <Empty title="No requests"><p>Nothing received HTTP requests within this time range.</p></Empty>}</Loaded>}
      </Section>
    </Page>
  );
}
