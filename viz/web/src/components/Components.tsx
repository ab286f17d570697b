// Components of the control plane, and whether their pods are ready.
import type { ComponentItem } from "../api/types";
import { duration, plural } from "../format/numbers";
import styles from "./Components.module.css";
import { HealthMark } from "./HealthMark";

export function Components({ components, now }: { components: ComponentItem[]; now: number }) {
  return (
    <ul className={styles.list}>
      {components.map((component) => {
        const ready = component.pods.filter((pod) => pod.ready).length;
        const health = ready >= component.desired ? "good" : ready > 0 ? "warn" : "bad";
        return (
          <li key={`${component.namespace}/${component.name}`} className={styles.item}>
            <div className={styles.head}>
              <HealthMark health={health} />
              <h3 className={styles.name}>{component.name}</h3>
              <span className={health === "good" ? styles.ready : styles.notReady}>{ready}/{component.desired} ready</span>
            </div>
            <p className={styles.where}>{component.namespace}{component.version ? `, ${component.version}` : ""}</p>
            <ul className={styles.pods}>
              {component.pods.map((pod) => (
                <li key={pod.name} className={styles.pod}>
                  <HealthMark health={pod.ready ? "good" : "bad"} />
                  <span className={styles.podName} title={pod.name}>{pod.name}</span>
                  <span className={styles.age}>
                    {pod.ready ? "" : "not ready, "}{pod.restarts > 0 ? `${plural(pod.restarts, "restart")}, ` : ""}{duration(pod.startedAt && now - pod.startedAt)}
                  </span>
                </li>
              ))}
            </ul>
          </li>
        );
      })}
    </ul>
  );
}
