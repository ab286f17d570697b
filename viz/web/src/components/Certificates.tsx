// Trust anchors and the issuer, and when they expire.
import type { CertificateInfo, ControlPlane } from "../api/types";
import { dateTime, until } from "../format/numbers";
import styles from "./Certificates.module.css";
import { HealthMark } from "./HealthMark";
import { Empty } from "./Loaded";

const SOON = 60 * 86_400;

export function Certificates({ control: { issuer, anchors }, now }: { control: ControlPlane; now: number }) {
  const all: [string, CertificateInfo][] = [...(issuer ? [["Issuer", issuer] as [string, CertificateInfo]] : []), ...anchors.map((anchor) => ["Trust anchor", anchor] as [string, CertificateInfo])];
  if (all.length === 0) return <Empty title="The control plane has told of no certificates" />;
  return (
    <ul>
      {all.map(([what, certificate]) => {
        const left = certificate.expiresAt - now;
        const health = left < 0 ? "bad" : left < SOON ? "warn" : "good";
        return (
          <li key={`${what} ${certificate.subject} ${certificate.notBefore}`} className={styles.row}>
            <span className={styles.what}><HealthMark health={health} /> {what}</span>
            <code className={styles.subject} title={certificate.subject}>{certificate.subject}</code>
            <span className={styles[health]}>{left < 0 ? "expired" : "expires"} {until(certificate.expiresAt, now)}<span className={styles.date}>{dateTime(certificate.expiresAt)}</span></span>
          </li>
        );
      })}
    </ul>
  );
}
