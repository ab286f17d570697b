// A resource's name as a link to its page; a long name is cut, and its title has the whole.
import { Link } from "react-router";
import type { ResourceRef } from "../api/types";
import { resourcePath, typeTitle } from "../format/names";
import { useTo } from "../url/hooks";
import { useNarrow } from "../url/media";
import styles from "./ResourceLink.module.css";

interface Props {
  resource: ResourceRef;
  /** Shows the namespace before the name; below it on a narrow screen, where it would leave no room for the name. */
  qualified?: boolean;
  withType?: boolean;
}

export function ResourceLink({ resource, qualified = false, withType = false }: Props) {
  const to = useTo();
  const narrow = useNarrow();
  const inNamespace = qualified && resource.type !== "namespace";
  return (
    <Link className={styles.link} to={to(resourcePath(resource))}
      title={`${typeTitle(resource.type)} ${resource.name}${resource.type === "namespace" ? "" : ` in ${resource.namespace}`}`}>
      {inNamespace && !narrow && <span className={styles.namespace}>{resource.namespace}/</span>}
      {resource.name}
      {withType && <span className={styles.type}> {resource.type}</span>}
      {inNamespace && narrow && <span className={styles.below}>{resource.namespace}</span>}
    </Link>
  );
}
