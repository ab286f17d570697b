// Whether a connection is secured, with the reason where it is not.
import type { Secured as SecuredValue } from "../api/types";
import { isSecured, reasonText, securedExplanation, securedLabel } from "../format/secured";
import { Icon } from "./Icon";
import styles from "./Secured.module.css";

export function Secured({ value, withReason = false }: { value: SecuredValue; withReason?: boolean }) {
  const secured = isSecured(value);
  return (
    <span className={secured ? styles.secured : styles.plaintext} title={securedExplanation(value)}>
      <Icon name={secured ? "lock" : "unlock"} size={15} />
      <span>
        {securedLabel(value)}
        {withReason && value.state === "plaintext" && <span className={styles.reason}>{reasonText(value.reason)}</span>}
      </span>
    </span>
  );
}
