// A success rate with a mark whose shape says the same as its colour.
import { HEALTH_WORDS, healthOf, type Health } from "../format/health";
import { percent } from "../format/numbers";
import styles from "./HealthMark.module.css";

export function HealthMark({ health }: { health: Health }) {
  return (
    <svg className={`${styles.mark} ${styles[health]}`} viewBox="0 0 12 12" width="10" height="10" aria-hidden focusable="false">
      {health === "good" && <circle cx="6" cy="6" r="4.5" />}
      {health === "warn" && <path d="M6 .8 11.6 11H.4z" />}
      {health === "bad" && <path d="M1.2 1.2h9.6v9.6H1.2z" />}
      {health === "none" && <path d="M2 5h8v2H2z" />}
    </svg>
  );
}

export function SuccessRate({ value }: { value: number | null | undefined }) {
  const health = healthOf(value);
  if (health === "none") return <span className={styles.textNone} title={HEALTH_WORDS.none}>{percent(null)}</span>;
  return (
    <span className={`${styles.rate} ${styles[`text-${health}`]}`} title={HEALTH_WORDS[health]}>
      <HealthMark health={health} />
      {percent(value)}
      <span className="visually-hidden">{`, ${HEALTH_WORDS[health]}`}</span>
    </span>
  );
}
