// The box around the workloads of a namespace.
import type { NodeProps } from "@xyflow/react";
import { memo, useContext } from "react";
import type { GroupFlowNode } from "./flow";
import styles from "./GroupBox.module.css";
import { MapActions } from "./MapActions";

export const GroupBox = memo(function GroupBox({ data }: NodeProps<GroupFlowNode>) {
  const actions = useContext(MapActions);
  return (
    <div className={styles.box}>
      {data.foldable
        ? <button type="button" className={styles.fold} onClick={() => actions.toggleOpen(data.namespace)} title={`Fold ${data.namespace}`}>{data.namespace} −</button>
        : <span className={styles.name} title={data.namespace}>{data.namespace}</span>}
    </div>
  );
});
