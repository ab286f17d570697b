// What a tap is doing.
import { plural } from "../format/numbers";
import type { TapSnapshot } from "./stream";
import styles from "./TapStatus.module.css";

export function TapStatus({ tap }: { tap: TapSnapshot }) {
  if (tap.error) {
    return (
      <div className={styles.error} role="alert">
        <strong>{tap.error.message}</strong>{tap.error.hint && <> {tap.error.hint}</>}{tap.state === "lost" && <> Trying again.</>}
      </div>
    );
  }
  return <p className={styles.status} role="status">{words(tap)}</p>;
}

function words({ state, started, dropped, calls }: TapSnapshot): string {
  const more = dropped > 0 ? ` ${dropped} events were left out: more came than ${started?.maxRps ?? ""} requests per second.` : "";
  const skipped = started && started.skipped.length > 0
    ? ` Not tapped: ${started.skipped.slice(0, 3).map(({ pod, reason }) => `${pod} (${reason})`).join(", ")}${started.skipped.length > 3 ? ", …" : ""}.` : "";
  switch (state) {
    case "idle": return calls.length > 0 ? "Stopped." : "";
    case "connecting": return "Connecting…";
    case "lost": return "The connection was lost. Trying again…";
    case "running": return `${calls.length === 0 ? "Waiting for requests to" : "Tapping"} ${plural(started?.pods ?? 0, "pod")}, at most ${started?.maxRps ?? 0} requests per second.${skipped}${more}`;
    case "failed": return "Stopped.";
  }
}
