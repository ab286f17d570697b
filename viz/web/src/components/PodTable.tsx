// Pods of a resource: where they run, whether they are served, their figures.
import { useMemo } from "react";
import type { PodItem, ResourceRef } from "../api/types";
import { duration } from "../format/numbers";
import { DataTable, type Column } from "./DataTable";
import { figureColumns } from "./FigureColumns";
import { ResourceLink } from "./ResourceLink";

const asRef = (pod: PodItem): ResourceRef => ({ namespace: pod.namespace, type: "pod", name: pod.name });

export function PodTable({ pods, now }: { pods: PodItem[]; now: number }) {
  const columns = useMemo<Column<PodItem>[]>(() => [
    { id: "name", header: "Name", sort: (pod) => pod.name, cell: (pod) => <ResourceLink resource={asRef(pod)} /> },
    { id: "node", header: "Node", width: 8, wideOnly: true, sort: (pod) => pod.node, cell: (pod) => pod.node ?? "–" },
    { id: "state", header: "State", width: 8.5, wideOnly: true, sort: state, cell: (pod) => <span title={pod.proxy?.reason ?? undefined}>{state(pod)}</span> },
    { id: "age", header: "Age", width: 5.5, numeric: true, wideOnly: true, sort: (pod) => pod.startedAt && -pod.startedAt, cell: (pod) => duration(pod.startedAt && now - pod.startedAt) },
    ...figureColumns<PodItem>(false),
  ], [now]);
  return <DataTable caption="Pods" columns={columns} rows={pods} rowKey={(pod) => `${pod.namespace}/${pod.name}`} initialSort={{ id: "name", desc: false }} sortParam="pods" />;
}

const WORDS = { joining: "joining", served: "meshed", leaving: "leaving", refused: "refused", no_proxy: "no proxy" };

function state(pod: PodItem): string {
  if (pod.phase !== "Running") return pod.phase;
  return pod.proxy ? (WORDS[pod.proxy.state] ?? pod.proxy.state) : "not meshed";
}
