// Single calls as they happen.
import { Empty } from "../components/Loaded";
import { Page, Section } from "../components/Page";
import { CallTable } from "../tap/CallTable";
import { TapStatus } from "../tap/TapStatus";
import { commandWords, mistake } from "../tools/query";
import { QueryForm } from "../tools/QueryForm";
import { useTool } from "../tools/useTool";

export function TapPage() {
  const { query, running, tap, start, stop } = useTool();
  return (
    <Page title="Tap" lead="Calls to and from a resource as they happen. Nothing is stored, and pods need no restart."
      command={mistake(query) ? undefined : commandWords("tap", query)}>
      <Section title="What to tap"><QueryForm matching running={running} onStart={start} onStop={stop} /></Section>
      <Section title="Calls">
        <TapStatus tap={tap} />
        {tap.calls.length > 0
          ? <CallTable calls={tap.calls} />
          : !tap.error && <Empty title={running ? "No call yet" : "Not tapping"}><p>{running ? "Calls appear here when they match." : "Choose a namespace and press Start."}</p></Empty>}
      </Section>
    </Page>
  );
}
