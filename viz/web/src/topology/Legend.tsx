// What lines and marks of the map mean.
import { HealthMark } from "../components/HealthMark";
import { Icon } from "../components/Icon";
import { GOOD_FROM, WARN_FROM, type Health } from "../format/health";
import { DASHES } from "./appearance";
import styles from "./Legend.module.css";

const LINES: [Health, string][] = [
  ["good", `${GOOD_FROM * 100}% succeed, or more`], ["warn", `${WARN_FROM * 100}% to ${GOOD_FROM * 100}%`], ["bad", `less than ${WARN_FROM * 100}%`], ["none", "no HTTP requests"],
];

export function Legend() {
  return (
    <ul className={styles.legend} aria-label="Legend">
      {LINES.map(([health, words]) => (
        <li key={health}>
          <svg width="34" height="10" aria-hidden><path d="M1 5h32" className={styles[health]} strokeWidth="2.5" strokeDasharray={DASHES[health]} strokeLinecap="round" /></svg>
          <HealthMark health={health} /> {words}
        </li>
      ))}
      <li>wider: more requests</li>
      <li><span className={styles.lock}><Icon name="lock" size={14} /></span> secured</li>
      <li><span className={styles.unlock}><Icon name="unlock" size={14} /></span> plaintext</li>
    </ul>
  );
}
