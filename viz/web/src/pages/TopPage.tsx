// Live calls, summed by ends, method and path.
import { Empty } from "../components/Loaded";
import { Page, Section } from "../components/Page";
import { TapStatus } from "../tap/TapStatus";
import { TopTable } from "../tap/TopTable";
import { commandWords, mistake } from "../tools/query";
import { QueryForm } from "../tools/QueryForm";
import { useTool } from "../tools/useTool";

export function TopPage() {
  const { query, running, tap, start, stop } = useTool();
  return (
    <Page title="Top" lead="Which calls are most frequent, slowest or failing, from now on."
      command={mistake(query) ? undefined : commandWords("top", query)}>
      <Section title="What to watch"><QueryForm matching running={running} onStart={start} onStop={stop} /></Section>
      <Section title="Calls by path">
        <TapStatus tap={tap} />
        {tap.top.length > 0
          ? <TopTable rows={tap.top} />
          : !tap.error && <Empty title={running ? "No call yet" : "Not watching"}><p>{running ? "Calls appear here when they end." : "Choose a namespace and press Start."}</p></Empty>}
      </Section>
    </Page>
  );
}
