// The first page: what is wrong now, the worst first, and the mesh in six figures.
import { useApi } from "../api/queries";
import type { Overview as OverviewData } from "../api/types";
import { Empty, Loaded } from "../components/Loaded";
import { Page, Section } from "../components/Page";
import { Totals } from "../components/Totals";
import { plural } from "../format/numbers";
import { ProblemList } from "../components/ProblemList";

export function Overview() {
  const query = useApi<OverviewData>("overview");
  const problems = query.data?.data.problems;
  // One error is enough.
  const failed = query.isError && !query.data;
  const critical = problems?.filter((p) => p.severity === "critical").length ?? 0;
  return (
    <Page title="Problems" lead="What is wrong in the mesh now, the worst first." command={["problems"]}>
      {!failed && <Loaded query={query} rows={3}>{(data) => <Totals data={data} />}</Loaded>}
      <Section title={problems ? summary(problems.length, critical) : failed ? "Problems are not known" : "Looking for problems"}>
        <Loaded query={query} rows={6}>
          {(data) => data.problems.length > 0
            ? <ProblemList problems={data.problems} now={query.data?.meta.at ?? 0} />
            : data.totals.pods.meshed === 0
              ? <Empty title="No pod is meshed yet"><p>Annotate a namespace with <code>linkerd.io/inject: enabled</code>. Its pods join without a restart.</p></Empty>
              : <Empty title="Nothing is wrong"><p>Success rates and latencies are as in the hour before, connections between meshed pods are secured, certificates are valid, and every node has a proxy.</p></Empty>}
        </Loaded>
      </Section>
    </Page>
  );
}

function summary(all: number, critical: number): string {
  if (all === 0) return "No problems";
  return critical > 0 ? `${plural(all, "problem")}, ${critical} critical` : plural(all, "problem");
}
