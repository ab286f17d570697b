// The time range of all figures of a page, kept in the URL.
import { WINDOWS, type Window } from "../api/types";
import { useSetParams, useWindow } from "../url/hooks";
import { DEFAULT_WINDOW } from "../url/params";
import styles from "./TimeRange.module.css";

const WORDS: Record<Window, string> = { "1m": "last minute", "10m": "last 10 minutes", "1h": "last hour", "6h": "last 6 hours" };

export function TimeRange() {
  const current = useWindow();
  const setParams = useSetParams();
  return (
    <fieldset className={styles.range}>
      <legend className="visually-hidden">Time range</legend>
      {WINDOWS.map((window) => (
        <label key={window} className={window === current ? styles.chosen : styles.choice} title={WORDS[window]}>
          <input type="radio" name="window" value={window} checked={window === current} aria-label={WORDS[window]}
            onChange={() => setParams({ w: window }, { w: DEFAULT_WINDOW })} />
          {window}
        </label>
      ))}
    </fieldset>
  );
}
