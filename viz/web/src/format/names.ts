// Names of resources: their types in the plural, their paths in the dashboard, short identities.
import { RESOURCE_TYPES, type ResourceRef, type ResourceType } from "../api/types";

export function pluralType(type: ResourceRef["type"]): string {
  return `${type}s`;
}

export function typeOfPlural(plural: string | undefined): ResourceType | undefined {
  return RESOURCE_TYPES.find((type) => pluralType(type) === plural);
}

const TITLES: Record<ResourceRef["type"], string> = {
  cronjob: "Cron job", daemonset: "Daemon set", deployment: "Deployment", job: "Job", namespace: "Namespace", pod: "Pod",
  replicaset: "Replica set", replicationcontroller: "Replication controller", service: "Service",
  statefulset: "Stateful set",
};
export function typeTitle(type: ResourceRef["type"]): string {
  return TITLES[type] ?? type;
}
export function pluralTitle(type: ResourceRef["type"]): string {
  return `${typeTitle(type)}s`;
}

export function resourcePath(ref: ResourceRef): string {
  const namespace = `/namespaces/${encodeURIComponent(ref.namespace)}`;
  return ref.type === "namespace" ? namespace : `${namespace}/${pluralType(ref.type)}/${encodeURIComponent(ref.name)}`;
}

export function refKey(ref: ResourceRef): string {
  return `${ref.namespace}/${ref.type}/${ref.name}`;
}

/** "emojivoto/deployment/web" as typed into a form; undefined if it is none. */
export function parseRefKey(text: string): ResourceRef | undefined {
  const [namespace, type, name, ...rest] = text.split("/");
  if (!namespace || !name || rest.length > 0) return undefined;
  if (type !== "namespace" && !RESOURCE_TYPES.includes(type as ResourceType)) return undefined;
  return { namespace, type: type as ResourceRef["type"], name };
}

/** SA.NS of SA.NS.serviceaccount.identity.CONTROL-PLANE.DOMAIN. */
export function shortIdentity(identity: string): string {
  return identity.replace(/\.serviceaccount\.identity\..*$/, "");
}
