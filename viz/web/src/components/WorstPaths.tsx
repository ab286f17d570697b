// The calls that fail most, which the proxies know without a tap.
import type { PathStats } from "../api/types";
import { count, percent } from "../format/numbers";
import { PathText } from "./PathText";
import styles from "./WorstPaths.module.css";

export function WorstPaths({ paths }: { paths: PathStats[] }) {
  return (
    <ol className={styles.list}>
      {paths.map((row) => {
        const share = row.requests > 0 ? row.failures / row.requests : 0;
        return (
          <li key={`${row.method} ${row.path}`} className={styles.row}>
            <PathText method={row.method} path={row.path} />
            <span className={styles.share}><span className={styles.fill} style={{ width: `${share * 100}%` }} /></span>
            <span className={styles.figures}><b>{percent(share)}</b> of {count(row.requests)} fail</span>
          </li>
        );
      })}
    </ol>
  );
}
