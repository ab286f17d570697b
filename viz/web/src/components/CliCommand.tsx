// The command that shows the same in a terminal, with a button that copies it.
import { useState } from "react";
import { useApi } from "../api/queries";
import type { VersionInfo } from "../api/types";
import { commandLine } from "../format/cli";
import styles from "./CliCommand.module.css";
import { Icon } from "./Icon";

/** `words` follow "weft viz". */
export function CliCommand({ words, raw = false }: { words: string[]; raw?: boolean }) {
  const version = useApi<VersionInfo>("version", {}, { interval: 60_000 });
  const [copied, setCopied] = useState<"no" | "yes" | "failed">("no");
  const line = commandLine(raw ? words : [...(version.data?.data.cli ?? ["weft", "viz"]), ...words]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(line);
      setCopied("yes");
    } catch {
      setCopied("failed");
    }
    setTimeout(() => setCopied("no"), 2_500);
  };
  return (
    <div className={styles.command}>
      <span className={styles.prompt} aria-hidden>$</span>
      <code className={styles.line} title={line} tabIndex={0} role="group" aria-label="Equivalent command">{line}</code>
      <button type="button" className={styles.copy} onClick={() => void copy()}>
        <Icon name={copied === "yes" ? "check" : "copy"} size={16} />
        <span>{copied === "yes" ? "Copied" : copied === "failed" ? "Select and copy" : "Copy"}</span>
        <span className="visually-hidden"> command</span>
      </button>
      <span role="status" className="visually-hidden">{copied === "yes" ? "Command copied" : ""}</span>
    </div>
  );
}
