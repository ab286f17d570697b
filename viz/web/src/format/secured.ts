// Why a connection is secured or not, in words.
import type { Secured } from "../api/types";

export function isSecured(secured: Secured): boolean {
  return secured.state !== "plaintext";
}

const STATES: Record<Exclude<Secured["state"], "plaintext">, string> = {
  mtls: "mTLS",
  same_node: "same node",
  opaque_tls: "application's TLS",
};

const REASONS: Record<string, string> = {
  loopback: "within the pod",
  not_provided_by_service_discovery: "the destination has no identity: not meshed, a skipped port, or outside the mesh",
  no_tls_from_remote: "the client sent no TLS: it is not meshed",
  from_node: "the node itself, as for health checks, which is not meshed",
};

export function securedLabel(secured: Secured): string {
  return secured.state === "plaintext" ? "plaintext" : (STATES[secured.state] ?? secured.state);
}

export function securedExplanation(secured: Secured): string {
  switch (secured.state) {
    case "mtls": return "Mutual TLS: both ends proved their identity";
    case "same_node": return "Both pods are on one node; the kernel vouches for both identities";
    case "opaque_tls": return "The application's own TLS, carried unread";
    case "plaintext": return `Not secured: ${reasonText(secured.reason)}`;
  }
}

export function reasonText(reason: string): string {
  return REASONS[reason] ?? reason;
}
