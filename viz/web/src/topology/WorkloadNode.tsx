// A workload, or a folded namespace, on the map.
import { Handle, Position, useReactFlow, type NodeProps } from "@xyflow/react";
import { memo, useContext } from "react";
import { HealthMark } from "../components/HealthMark";
import { HEALTH_WORDS } from "../format/health";
import { millis, percent, plural, rate } from "../format/numbers";
import type { WorkloadFlowNode } from "./flow";
import { MapActions } from "./MapActions";
import styles from "./WorkloadNode.module.css";

export const WorkloadNode = memo(function WorkloadNode({ id, data, width = 0, height = 0, positionAbsoluteX, positionAbsoluteY }: NodeProps<WorkloadFlowNode>) {
  const { node, emphasis, selected } = data;
  const actions = useContext(MapActions);
  const { setCenter, getZoom } = useReactFlow();
  const { health } = node;
  const state = [styles.node, styles[health], styles[node.kind], styles[emphasis], selected ? styles.selected : ""].join(" ");
  const more = [HEALTH_WORDS[health], ...(node.failing > 0 ? [`${node.failing} of ${node.members} workloads fail requests`] : [])].join(", ");
  const showWhenFocused = (event: React.FocusEvent) => {
    if (event.currentTarget.matches(":focus-visible")) void setCenter(positionAbsoluteX + width / 2, positionAbsoluteY + height / 2, { zoom: getZoom() });
  };
  return (
    <>
      <Handle type="target" position={Position.Left} isConnectable={false} className={styles.handle} />
      <button type="button" className={state} aria-pressed={selected} title={node.label}
        onClick={() => actions.select(selected ? null : id)} onFocus={showWhenFocused}
        onDoubleClick={() => node.kind === "namespace" && node.namespace && actions.toggleOpen(node.namespace)}>
        <span className={styles.head}>
          <HealthMark health={health} />
          <span className={styles.label}>{node.label}</span>
          <span className="visually-hidden">{node.namespace && node.kind !== "namespace" ? ` in ${node.namespace}` : ""}: {more}</span>
        </span>
        <span className={styles.figures}>
          {node.http
            ? <><b>{percent(node.http.successRate)}</b><span>{rate(node.http.rps)} rps</span><span>{millis(node.http.latencyMs.p99)}</span></>
            : <span>{node.kind === "unmeshed" ? "not meshed" : node.kind === "outside" ? "no mesh" : "no requests"}</span>}
        </span>
        {node.kind === "namespace" && <span className={styles.members}>{plural(node.members, "workload")}{node.failing > 0 && <b>, {node.failing} failing</b>}</span>}
      </button>
      <Handle type="source" position={Position.Right} isConnectable={false} className={styles.handle} />
    </>
  );
});
