// The CLI command that shows what a page shows.
import type { ResourceRef, Window } from "../api/types";

const SHORT: Partial<Record<ResourceRef["type"], string>> = {
  daemonset: "ds", deployment: "deploy", namespace: "ns", pod: "po", replicaset: "rs", service: "svc",
  statefulset: "sts", cronjob: "cj", replicationcontroller: "rc",
};

export function shortType(type: ResourceRef["type"]): string {
  return SHORT[type] ?? type;
}

export function resourceArg(ref: ResourceRef): string {
  return `${shortType(ref.type)}/${ref.name}`;
}

/** Flags that say where a resource is. A namespace is not inside a namespace. */
export function whereFlags(ref: ResourceRef): string[] {
  return ref.type === "namespace" ? [] : ["-n", ref.namespace];
}

export function windowFlags(window: Window): string[] {
  return window === "1m" ? [] : ["-t", window];
}

/** Tables of the dashboard also list what is not meshed. Services have no pods of their own, so none is left out. */
export function unmeshedFlags(type: ResourceRef["type"]): string[] {
  return type === "service" ? [] : ["--unmeshed"];
}

/** Quotes a word for a POSIX shell. Names and paths come from the cluster, so they can be anything. */
export function quote(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

export function commandLine(words: string[]): string {
  return words.map(quote).join(" ");
}
