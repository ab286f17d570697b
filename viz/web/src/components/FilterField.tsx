// A field that keeps what is typed in the URL.
import { useSearchParams } from "react-router";
import { useSetParams } from "../url/hooks";
import { Icon } from "./Icon";
import styles from "./FilterField.module.css";

export function FilterField({ param = "q", label }: { param?: string; label: string }) {
  const [params] = useSearchParams();
  const setParams = useSetParams();
  return (
    <label className={styles.field}>
      <Icon name="search" size={16} />
      <span className="visually-hidden">{label}</span>
      <input type="search" placeholder={label} spellCheck={false} autoComplete="off" value={params.get(param) ?? ""}
        onChange={(event) => setParams({ [param]: event.target.value })} />
    </label>
  );
}
