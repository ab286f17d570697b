// A resource's name as a link to its page; a long name is cut, and its title has the whole.
import { Link } from "react-router";
import type { ResourceRef } from "../api/types";
import { resourcePath, typeTitle } from "../format/names";
import { useTo } from "../url/hooks";
import styles from "./ResourceLink.module.css";

interface Props {
  resource: ResourceRef;
  /** Shows the namespace before the name. */
  qualified?: boolean;
  withType?: boolean;
}

export function ResourceLink({ resource, qualified = false, withType = false }: Props) {
  const to = useTo();
  const inNamespace = qualified && resource.type !== "namespace";
  return (
    <Link className={styles.link} to={to(resourcePath(resource))}
      title={`${typeTitle(resource.type)} ${resource.name}${resource.type === "namespace" ? "" : ` in ${resource.namespace}`}`}>
      {inNamespace && <span className={styles.namespace}>{resource.namespace}/</span>}
      {resource.name}
      {withType && <span className={styles.type}> {resource.type}</span>}
    </Link>
  );
}
