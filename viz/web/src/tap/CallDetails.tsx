// Everything that a tap tells of one call.
import type { ReactNode } from "react";
import type { TapEnd, TapHeaders } from "../api/tap-types";
import { bytes, clock, millis } from "../format/numbers";
import type { Call } from "./calls";
import styles from "./CallDetails.module.css";

const TLS = { true: "mTLS", local: "same node", opaque: "application's TLS", no_identity: "plaintext" } as const;

export function CallDetails({ call: { request, response, end } }: { call: Call }) {
  return (
    <div className={styles.details}>
      <Part title="Request" at={request.at}>
        <Item name="Authority">{request.authority}</Item>
        <Item name="Path">{request.path}</Item>
        <Item name="Scheme">{request.scheme ?? "–"}</Item>
        <Item name="Method">{request.method}</Item>
        <Item name="TLS">{TLS[request.tls] ?? request.tls}</Item>
        <Item name="Source">{endText(request.source)}</Item>
        <Item name="Destination">{endText(request.destination)}</Item>
        <Headers headers={request.headers} />
      </Part>
      <Part title="Response" at={response?.at}>
        {response
          ? <><Item name="Status">{response.status}</Item><Item name="Latency">{millis(response.latencyMs)}</Item><Headers headers={response.headers} /></>
          : <Item name="">not yet</Item>}
      </Part>
      <Part title="End" at={end?.at}>
        {end
          ? <><Item name="gRPC status">{end.grpcStatus ?? "–"}</Item><Item name="Reset">{end.reset ?? "–"}</Item><Item name="Duration">{millis(end.durationMs)}</Item><Item name="Response">{bytes(end.responseBytes)}</Item></>
          : <Item name="">not yet</Item>}
      </Part>
    </div>
  );
}

function Part({ title, at, children }: { title: string; at: number | undefined; children: ReactNode }) {
  return (
    <section className={styles.part}>
      <h3>{title}{at !== undefined && <span className={styles.at}> {clock(at)}</span>}</h3>
      <dl>{children}</dl>
    </section>
  );
}

function Item({ name, children }: { name: string; children: ReactNode }) {
  return <div className={styles.item}><dt>{name}</dt><dd>{children}</dd></div>;
}

function Headers({ headers }: { headers: TapHeaders }) {
  return headers.map(([name, value], i) => <Item key={`${name}${i}`} name={name}>{value}</Item>);
}

function endText({ pod, address }: TapEnd): string {
  return pod ? `${pod} (${address})` : address;
}
