// A request's method and path. If there is no room, the middle is cut: the end of a path says most.
import styles from "./PathText.module.css";

export function PathText({ method, path }: { method: string; path: string }) {
  const query = path.indexOf("?");
  const slash = (query === -1 ? path : path.slice(0, query)).lastIndexOf("/");
  return (
    <span className={styles.call} title={`${method} ${path}`}>
      <b className={styles.method}>{method}</b>
      <code className={styles.start}>{path.slice(0, Math.max(0, slash))}</code>
      <code className={styles.end}>{path.slice(Math.max(0, slash))}</code>
    </span>
  );
}
