// What a part of a page shows while it loads, if it fails, and when it is empty.
import type { ReactNode } from "react";
import type { ApiQuery } from "../api/queries";
import { clock } from "../format/numbers";
import styles from "./Loaded.module.css";

interface Props<T> {
  query: ApiQuery<T>;
  /** Height of the placeholder in rows. */
  rows?: number;
  children: (data: T) => ReactNode;
}

export function Loaded<T>({ query, rows = 4, children }: Props<T>) {
  if (query.data) {
    return (
      <div className={query.isPlaceholderData ? styles.previous : undefined} aria-busy={query.isPlaceholderData}>
        {query.isError && !query.error.unreachable && <Stale query={query} />}
        {children(query.data.data)}
      </div>
    );
  }
  if (query.isError) return <Failed query={query} />;
  return <Loading rows={rows} />;
}

export function Loading({ rows }: { rows: number }) {
  return (
    <div className={styles.loading} role="status">
      <span className="visually-hidden">Loading…</span>
      {Array.from({ length: rows }, (_, i) => <span key={i} className={styles.bar} />)}
    </div>
  );
}

function Failed<T>({ query }: { query: ApiQuery<T> }) {
  return (
    <div className={styles.failed} role="alert">
      <h3>{query.error?.message}</h3>
      {query.error?.hint && <p>{query.error.hint}</p>}
      <button type="button" className={styles.retry} onClick={() => void query.refetch()}>Try again</button>
    </div>
  );
}

function Stale<T>({ query }: { query: ApiQuery<T> }) {
  return (
    <p className={styles.stale} role="status">
      <strong>{query.error?.message}.</strong> These are the figures of {clock(query.data?.meta.at ?? 0)}. {query.error?.hint}
    </p>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={styles.empty}>
      <p className={styles.emptyTitle}>{title}</p>
      {children && <div className={styles.why}>{children}</div>}
    </div>
  );
}
