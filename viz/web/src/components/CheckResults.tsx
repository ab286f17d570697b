// What the checks found, as `weft check` prints it.
import type { CheckItem, CheckReport } from "../api/types";
import styles from "./CheckResults.module.css";

const MARKS: Record<CheckItem["result"], [mark: string, words: string]> = { success: ["√", "passed"], warning: ["‼", "warning"], error: ["×", "failed"] };

export function CheckResults({ report }: { report: CheckReport }) {
  return (
    <div className={styles.report}>
      {report.categories.map((category) => (
        <section key={category.name}>
          <h3 className={styles.category}>{category.name}</h3>
          <ul>{category.checks.map((check) => <Check key={check.description} check={check} />)}</ul>
        </section>
      ))}
      <p className={report.success ? styles.success : styles.error} role="status">Status check results are {report.success ? "√" : "×"}</p>
    </div>
  );
}

function Check({ check }: { check: CheckItem }) {
  const [mark, words] = MARKS[check.result];
  return (
    <li className={styles.check}>
      <span className={styles[check.result]} role="img" aria-label={words}>{mark}</span>
      <div>
        {check.description}
        {check.error && <p className={styles.message}>{check.error}</p>}
        {check.hint && <p className={styles.hint}>see {/^https:\/\//.test(check.hint) ? <a href={check.hint} target="_blank" rel="noreferrer">{check.hint}</a> : check.hint} for hints</p>}
      </div>
    </li>
  );
}
