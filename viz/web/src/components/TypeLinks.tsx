// Links to the tables of the other types of resources.
import { Link } from "react-router";
import type { ResourceType } from "../api/types";
import { pluralTitle, pluralType } from "../format/names";
import { useTo } from "../url/hooks";
import styles from "./TypeLinks.module.css";

interface Props {
  types: readonly ResourceType[];
  current?: ResourceType;
  namespace?: string;
}

export function TypeLinks({ types, current, namespace }: Props) {
  const to = useTo();
  const base = namespace ? `/namespaces/${encodeURIComponent(namespace)}` : "/workloads";
  return (
    <nav aria-label="Types of resources">
      <ul className={styles.list}>
        {types.map((type) => (
          <li key={type}>
            <Link to={to(`${base}/${pluralType(type)}`)} aria-current={type === current ? "page" : undefined} className={type === current ? styles.current : styles.link}>
              {pluralTitle(type)}
            </Link>
          </li>
        ))}
      </ul>
    </nav>
  );
}
