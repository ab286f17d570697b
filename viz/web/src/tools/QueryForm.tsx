// The form of tap, top and routes. What is entered is in the URL at once.
import { useId, useMemo, type FormEvent } from "react";
import { useSearchParams } from "react-router";
import { useApi } from "../api/queries";
import type { ResourceItem } from "../api/types";
import { useSetParams } from "../url/hooks";
import styles from "./QueryForm.module.css";
import { DEFAULT_RPS, mistake, readQuery, type Field } from "./query";

interface Props {
  /** Fields for matching requests. */
  matching: boolean;
  running: boolean;
  onStart?: () => void;
  onStop?: () => void;
}

const METHODS = ["", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const SUGGESTIONS = 200;

export function QueryForm({ matching, running, onStart, onStop }: Props) {
  const [params] = useSearchParams();
  const setParams = useSetParams();
  const query = readQuery(params);
  const resources = useApi<ResourceItem[]>("resources", {}, { interval: 30_000 });
  const items = resources.data?.data;
  const namespaces = useMemo(() => [...new Set(items?.map((item) => item.namespace))].sort(), [items]);
  const problem = mistake(query);
  const change = (field: Field) => (value: string) => setParams({ [field]: value, run: undefined });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (running) onStop?.();
    else if (!problem) onStart?.();
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <Select label="Namespace" value={query.ns} options={namespaces} empty="Choose…" onChange={change("ns")} />
      <Resource label="Resource" value={query.res} items={items} namespace={query.ns} onChange={change("res")} placeholder="the whole namespace" />
      <Select label="To namespace" value={query.tons} options={namespaces} empty="any" onChange={change("tons")} />
      <Resource label="To resource" value={query.tores} items={items} namespace={query.tons || query.ns} onChange={change("tores")} placeholder="any" />
      {matching && (
        <>
          <Select label="Method" value={query.method} options={METHODS.slice(1)} empty="any" onChange={change("method")} />
          <Text label="Path begins with" value={query.path} onChange={change("path")} placeholder="any" />
          <Text label="Authority" value={query.authority} onChange={change("authority")} placeholder="any" />
          <Select label="Scheme" value={query.scheme} options={["http", "https"]} empty="any" onChange={change("scheme")} />
          <Text label="Requests per second, at most" value={query.rps} onChange={change("rps")} placeholder={DEFAULT_RPS} numeric />
        </>
      )}
      {onStart && (
        <div className={styles.actions}>
          <button type="submit" className={running ? styles.stop : styles.start} disabled={!running && problem !== null}>{running ? "Stop" : "Start"}</button>
        </div>
      )}
      {problem && <p className={styles.problem} role="status">{problem}</p>}
    </form>
  );
}

interface FieldProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  placeholder?: string;
}

function Select({ label, value, options, empty, onChange }: FieldProps & { options: string[]; empty: string }) {
  return (
    <label className={styles.field}>
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">{empty}</option>
        {value && !options.includes(value) && <option value={value}>{value}</option>}
        {options.map((option) => <option key={option} value={option}>{option}</option>)}
      </select>
    </label>
  );
}

function Text({ label, value, onChange, placeholder, numeric = false }: FieldProps & { numeric?: boolean }) {
  return (
    <label className={styles.field}>
      <span>{label}</span>
      <input type="text" inputMode={numeric ? "decimal" : undefined} value={value} placeholder={placeholder} spellCheck={false} autoComplete="off" onChange={(event) => onChange(event.target.value)} />
    </label>
  );
}

function Resource({ label, value, items, namespace, onChange, placeholder }: FieldProps & { items: ResourceItem[] | undefined; namespace: string }) {
  const id = useId();
  const suggestions = useMemo(() => (items ?? []).filter((item) => item.namespace === namespace && item.type !== "namespace")
    .map((item) => `${item.type}/${item.name}`).filter((text) => text.includes(value)).slice(0, SUGGESTIONS), [items, namespace, value]);
  return (
    <label className={styles.field}>
      <span>{label}</span>
      <input type="text" list={id} value={value} placeholder={placeholder} spellCheck={false} autoComplete="off" onChange={(event) => onChange(event.target.value)} />
      <datalist id={id}>{suggestions.map((text) => <option key={text} value={text} />)}</datalist>
    </label>
  );
}
