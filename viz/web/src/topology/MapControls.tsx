// Zooming by buttons, for those without a wheel.
import { Panel, useReactFlow, type FitViewOptions } from "@xyflow/react";
import { Icon } from "../components/Icon";
import styles from "./MapControls.module.css";

export function MapControls({ fit }: { fit: FitViewOptions }) {
  const { zoomIn, zoomOut, fitView } = useReactFlow();
  return (
    <Panel position="bottom-left" className={styles.controls}>
      <button type="button" aria-label="Zoom in" title="Zoom in (Ctrl and wheel)" onClick={() => void zoomIn()}>+</button>
      <button type="button" aria-label="Zoom out" title="Zoom out (Ctrl and wheel)" onClick={() => void zoomOut()}>−</button>
      <button type="button" aria-label="Show everything" title="Show everything" onClick={() => void fitView(fit)}><Icon name="expand" size={16} /></button>
    </Panel>
  );
}
