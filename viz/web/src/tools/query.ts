// The query of tap, top and routes: in the URL, for the API and as a command.
import type { Params } from "../api/client";
import { RESOURCE_TYPES, type ResourceType } from "../api/types";
import { shortType } from "../format/cli";

export const FIELDS = ["ns", "res", "tons", "tores", "method", "path", "authority", "scheme", "rps"] as const;
export type Field = (typeof FIELDS)[number];
export type ToolQuery = Record<Field, string>;

export const DEFAULT_RPS = "100";

export function readQuery(params: URLSearchParams): ToolQuery {
  return Object.fromEntries(FIELDS.map((field) => [field, params.get(field) ?? ""])) as ToolQuery;
}

/** "deployment/web" */
export function readResource(text: string): { type: ResourceType; name: string } | null {
  const slash = text.indexOf("/");
  const type = RESOURCE_TYPES.find((known) => known === text.slice(0, slash));
  const name = text.slice(slash + 1);
  return type && name ? { type, name } : null;
}

/** What is wrong with the query; null if it can be asked. */
export function mistake(query: ToolQuery): string | null {
  if (!query.ns) return "Choose a namespace.";
  if (query.res && !readResource(query.res)) return `“${query.res}” is no resource: write its type and name, as in deployment/web.`;
  if (query.tores && !readResource(query.tores)) return `“${query.tores}” is no resource: write its type and name, as in deployment/web.`;
  if (query.rps && !(Number(query.rps) > 0)) return "The limit of requests per second must be above 0.";
  return null;
}

export function apiParams(query: ToolQuery): Params {
  const from = readResource(query.res);
  const to = readResource(query.tores);
  const toNamespace = query.tons || (to ? query.ns : "");
  return {
    namespace: query.ns, type: from?.type ?? "namespace", name: from?.name ?? query.ns,
    to_namespace: toNamespace, to_type: to?.type ?? (toNamespace ? "namespace" : ""), to_name: to?.name ?? toNamespace,
  };
}

export function tapParams(query: ToolQuery): Params {
  return { ...apiParams(query), method: query.method, path: query.path, authority: query.authority, scheme: query.scheme, max_rps: query.rps || DEFAULT_RPS };
}

export function commandWords(command: "tap" | "top" | "routes", query: ToolQuery): string[] {
  const from = readResource(query.res);
  const to = readResource(query.tores);
  const flag = (name: string, value: string): string[] => (value ? [name, value] : []);
  return [
    command, from ? `${shortType(from.type)}/${from.name}` : `ns/${query.ns}`,
    ...(from ? ["-n", query.ns] : []),
    ...(to ? ["--to", `${shortType(to.type)}/${to.name}`] : query.tons ? ["--to", `ns/${query.tons}`] : []),
    ...(to ? flag("--to-namespace", query.tons) : []),
    ...(command === "routes" ? [] : [
      ...flag("--method", query.method), ...flag("--path", query.path), ...flag("--authority", query.authority), ...flag("--scheme", query.scheme),
      ...(query.rps && query.rps !== DEFAULT_RPS ? ["--max-rps", query.rps] : []),
    ]),
  ];
}
