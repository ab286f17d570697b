// Single calls, the newest first. Opening one stops the list from moving.
import { useState } from "react";
import { millis } from "../format/numbers";
import { PathText } from "../components/PathText";
import { CallDetails } from "./CallDetails";
import { failed, nameOf, type Call } from "./calls";
import styles from "./CallTable.module.css";

const SHOWN = 100;

export function CallTable({ calls }: { calls: Call[] }) {
  const [frozen, setFrozen] = useState<Call[] | null>(null);
  const [open, setOpen] = useState<string | null>(null);
  const shown = (frozen ?? calls).slice(0, SHOWN);
  const newest = frozen?.[0]?.id;
  const waiting = newest === undefined ? 0 : Math.max(0, calls.findIndex((call) => call.id === newest));
  const toggle = (id: string) => {
    setFrozen((current) => current ?? calls);
    setOpen((current) => (current === id ? null : id));
  };
  return (
    <>
      {frozen && (
        <button type="button" className={styles.follow} onClick={() => { setFrozen(null); setOpen(null); }}>
          The list stands still. Follow again{waiting > 0 ? ` (${waiting} new)` : ""}
        </button>
      )}
      <div className={styles.scroll} tabIndex={0} role="group" aria-label="Calls">
        <table className={styles.table}>
          <caption className="visually-hidden">Calls</caption>
          <thead>
            <tr>
              <th scope="col" className={styles.dir}><span className="visually-hidden">Direction</span></th>
              <th scope="col">Call</th><th scope="col" className={styles.wide}>Source</th><th scope="col" className={styles.wide}>Destination</th>
              <th scope="col" className={styles.number}>Latency</th><th scope="col" className={styles.status}>HTTP</th><th scope="col" className={styles.grpc}>gRPC</th>
            </tr>
          </thead>
          {shown.map((call) => <CallRow key={call.id} call={call} open={open === call.id} onToggle={() => toggle(call.id)} />)}
        </table>
      </div>
    </>
  );
}

function CallRow({ call, open, onToggle }: { call: Call; open: boolean; onToggle: () => void }) {
  const { request, response, end } = call;
  const bad = failed(call);
  // On a narrow screen, which has no column for it, it stands in place of the 200.
  const grpcFailed = bad && end?.grpcStatus != null && end.grpcStatus !== "OK";
  return (
    <tbody>
      <tr className={bad ? styles.failed : undefined}>
        <td className={styles.dir} title={request.direction === "inbound" ? "received from the source" : "sent to the destination"}>{request.direction === "inbound" ? "from" : "to"}</td>
        <th scope="row">
          <button type="button" className={styles.open} aria-expanded={open} onClick={onToggle} title={`${request.method} ${request.path}`}>
            <PathText method={request.method} path={request.path} />
          </button>
        </th>
        <td className={styles.wide} title={request.source.pod ?? request.source.address}>{nameOf(request.source)}</td>
        <td className={styles.wide} title={request.destination.pod ?? request.destination.address}>{nameOf(request.destination)}</td>
        <td className={styles.number}>{millis(response?.latencyMs)}</td>
        <td className={styles.status}>
          <span className={grpcFailed ? styles.code : undefined}>{response ? response.status : "–"}</span>
          {grpcFailed && <span className={styles.reason}>{end?.grpcStatus}</span>}
          {bad && <span className="visually-hidden"> failed</span>}
        </td>
        <td className={styles.grpc}>{end?.grpcStatus ?? "–"}</td>
      </tr>
      {open && <tr><td colSpan={7} className={styles.details}><CallDetails call={call} /></td></tr>}
    </tbody>
  );
}
