// Tabs whose choice is in the URL. Arrow keys move between them, as the pattern of ARIA asks.
import { useRef, type KeyboardEvent, type ReactNode } from "react";
import { useSearchParams } from "react-router";
import { useSetParams } from "../url/hooks";
import styles from "./Tabs.module.css";

export interface Tab {
  id: string;
  label: string;
  count?: number;
  content: () => ReactNode;
}

export function Tabs({ tabs, label }: { tabs: Tab[]; label: string }) {
  const [params] = useSearchParams();
  const setParams = useSetParams();
  const list = useRef<HTMLDivElement>(null);
  const first = tabs[0]?.id ?? "";
  const current = tabs.find((tab) => tab.id === params.get("tab")) ?? tabs[0];
  const onKey = (event: KeyboardEvent) => {
    const at = tabs.findIndex((tab) => tab.id === current?.id);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const tab = tabs[(next + tabs.length) % tabs.length];
    setParams({ tab: tab?.id }, { tab: first });
    list.current?.querySelector<HTMLElement>(`#tab-${tab?.id}`)?.focus();
  };
  return (
    <div className={styles.tabs}>
      <div ref={list} role="tablist" aria-label={label} className={styles.list} onKeyDown={onKey}>
        {tabs.map((tab) => (
          <button key={tab.id} id={`tab-${tab.id}`} type="button" role="tab" aria-selected={tab.id === current?.id} aria-controls="tab-panel"
            tabIndex={tab.id === current?.id ? 0 : -1} className={tab.id === current?.id ? styles.current : styles.tab}
            onClick={() => setParams({ tab: tab.id }, { tab: first })}>
            {tab.label}{tab.count !== undefined && <span className={styles.count}>{tab.count}</span>}
          </button>
        ))}
      </div>
      <div id="tab-panel" role="tabpanel" aria-labelledby={`tab-${current?.id}`} className={styles.panel}>{current?.content()}</div>
    </div>
  );
}
