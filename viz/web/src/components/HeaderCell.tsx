// The head of a column, which sorts by it.
import styles from "./DataTable.module.css";

interface Props {
  label: string;
  numeric: boolean;
  sticky: boolean;
  sort: "ascending" | "descending" | undefined;
  onSort: (() => void) | undefined;
}

export function HeaderCell({ label, numeric, sticky, sort, onSort }: Props) {
  return (
    <th scope="col" aria-sort={sort} className={`${styles.head} ${numeric ? styles.numeric : ""} ${sticky ? styles.first : ""}`}>
      {onSort
        ? (
          <button type="button" className={styles.sort} onClick={onSort}>
            {label}
            <span className={styles.arrow} aria-hidden>{sort === "descending" ? "▼" : sort === "ascending" ? "▲" : ""}</span>
          </button>
        )
        : label}
    </th>
  );
}
