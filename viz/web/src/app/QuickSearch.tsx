// Finds a resource by a part of its name and opens its page, by keyboard or pointer.
import { useEffect, useMemo, useRef, useState } from "react";
import { useNavigate } from "react-router";
import { useApi } from "../api/queries";
import type { ResourceItem } from "../api/types";
import { Icon } from "../components/Icon";
import { refKey, resourcePath } from "../format/names";
import { findResources } from "../format/search";
import { useTo } from "../url/hooks";
import styles from "./QuickSearch.module.css";

const SHOWN = 40;

export function QuickSearch({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const navigate = useNavigate();
  const to = useTo();
  const resources = useApi<ResourceItem[]>("resources", {}, { interval: 30_000 });
  const found = useMemo(() => findResources(resources.data?.data ?? [], text, SHOWN), [resources.data, text]);

  useEffect(() => dialog.current?.showModal(), []);
  const open = (item: ResourceItem | undefined) => {
    if (!item) return;
    onClose();
    void navigate(to(resourcePath(item)));
  };
  const onKey = (event: React.KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      const next = Math.max(0, Math.min(found.length - 1, active + step));
      setActive(next);
      document.getElementById(`found-${next}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      open(found[active]);
    }
  };
  return (
    <dialog ref={dialog} className={styles.dialog} aria-label="Search resources" onClose={onClose}
      onClick={(event) => event.target === dialog.current && onClose()}>
      <div className={styles.field}>
        <Icon name="search" />
        <input role="combobox" aria-expanded aria-controls="found" aria-autocomplete="list" aria-activedescendant={found.length > 0 ? `found-${active}` : undefined}
          aria-label="Name, namespace or type" placeholder="Name, namespace or type" autoFocus spellCheck={false} autoComplete="off"
          value={text} onChange={(event) => { setText(event.target.value); setActive(0); }} onKeyDown={onKey} />
        <button type="button" className={styles.close} onClick={onClose} aria-label="Close search"><Icon name="close" /></button>
      </div>
      <ul id="found" role="listbox" aria-label="Resources" className={styles.list}>
        {found.map((item, i) => (
          // The keyboard acts on the input (aria-activedescendant); the pointer acts here.
          <li key={refKey(item)} id={`found-${i}`} role="option" aria-selected={i === active} className={i === active ? styles.active : styles.item}
            onClick={() => open(item)} onPointerMove={() => setActive(i)}>
            <span className={styles.name} title={item.name}>{item.name}</span>
            <span className={styles.where}>{item.type} in {item.namespace}</span>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p className={styles.none}>{resources.isPending ? "Loading…" : "Nothing has such a name."}</p>}
    </dialog>
  );
}
