// What the answers on this page lack, once each: the server says it with every answer.
import { useCallback, useSyncExternalStore } from "react";
import { queryClient } from "../api/queries";
import type { Answer } from "../api/types";
import { lacks } from "../format/notices";
import styles from "./Notices.module.css";

const SEPARATOR = "\n";

/** One text, so that nothing is drawn while it stays the same. */
function messages(): string {
  const active = queryClient.getQueryCache().findAll({ type: "active" });
  const metas = active.flatMap((query) => (query.state.data as Answer<unknown> | undefined)?.meta ?? []);
  return lacks(metas).join(SEPARATOR);
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
