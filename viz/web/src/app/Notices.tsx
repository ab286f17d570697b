// What the answers on this page lack, once each: the server says it with every answer.
import { useCallback, useSyncExternalStore } from "react";
import { queryClient } from "../api/queries";
import type { Answer, Meta } from "../api/types";
import styles from "./Notices.module.css";

const SEPARATOR = "\n";

/** One text, so that nothing is drawn while it stays the same. */
function messages(): string {
  const active = queryClient.getQueryCache().findAll({ type: "active" });
  const metas = active.flatMap((query) => (query.state.data as Answer<unknown> | undefined)?.meta ?? []);
  return lacks(metas).join(SEPARATOR);
}

/** Warnings, and that there is no Prometheus. While one does not answer, a warning says so. */
export function lacks(metas: Meta[]): string[] {
  const warnings = metas.flatMap((meta) => meta.warnings);
  const missing = metas.some(({ source }) => source === "proxies") && !warnings.some(({ code }) => code === "prometheus_unavailable");
  const texts = warnings.map(({ message }) => message);
  if (missing) texts.push("Prometheus is not installed. These are figures of the last minute, read from the proxies.");
  return [...new Set(texts)].sort();
}

export function Notices() {
  const subscribe = useCallback((changed: () => void) => queryClient.getQueryCache().subscribe(changed), []);
  const text = useSyncExternalStore(subscribe, messages);
  return (
    <div role="status" aria-label="What the figures lack">
      {text && <ul className={styles.notices}>{text.split(SEPARATOR).map((message) => <li key={message}>{message}</li>)}</ul>}
    </div>
  );
}
