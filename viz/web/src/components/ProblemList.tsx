// Problems as a list: what, where, how bad, and where to look next.
import { Link } from "react-router";
import type { Problem } from "../api/types";
import { ago } from "../format/numbers";
import { problemResource, problemText } from "../format/problems";
import { resourcePath } from "../format/names";
import { useTo } from "../url/hooks";
import { HealthMark } from "./HealthMark";
import styles from "./ProblemList.module.css";

export function ProblemList({ problems, now }: { problems: Problem[]; now: number }) {
  return <ol className={styles.list}>{problems.map((problem) => <ProblemItem key={problem.id} problem={problem} now={now} />)}</ol>;
}

function ProblemItem({ problem, now }: { problem: Problem; now: number }) {
  const to = useTo();
  const text = problemText(problem, now);
  const resource = problemResource(problem);
  const critical = problem.severity === "critical";
  return (
    <li className={styles.problem}>
      <span className={critical ? styles.critical : styles.warning}>
        <HealthMark health={critical ? "bad" : "warn"} />
        {critical ? "Critical" : "Warning"}
      </span>
      <div className={styles.body}>
        <h3 className={styles.title}>
          {resource
            ? <Link to={to(resourcePath(resource))} title={text.subject} className={styles.subject}>{text.subject}</Link>
            : <span className={styles.subject} title={text.subject}>{text.subject}</span>}{" "}
          {text.title}
        </h3>
        <p className={styles.detail} title={text.detail}>{text.detail}</p>
        <p className={styles.where}>
          {text.where && <span>{text.where}</span>}
          {problem.since !== null && <span>began {ago(problem.since, now)}</span>}
        </p>
      </div>
      <div className={styles.links}>
        {text.links.map((link) => (
          <Link key={link.label} className={styles.link} to={to(link.path, link.params)}>
            {link.label}<span className="visually-hidden"> of {text.subject}</span>
          </Link>
        ))}
      </div>
    </li>
  );
}
