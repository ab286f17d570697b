// Says that the server cannot be reached, how old the figures are, and that it is back.
import { useEffect, useState } from "react";
import { useConnection } from "../api/connection";
import { duration } from "../format/numbers";
import styles from "./ConnectionBanner.module.css";

export function ConnectionBanner() {
  const { state, lastAnswer } = useConnection();
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (state !== "lost") return;
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [state]);
  return (
    <>
      {state === "lost" && (
        <div className={styles.lost}>
          <strong>The connection to the dashboard's server is lost.</strong>{" "}
          {lastAnswer ? `Figures are ${duration(Math.max(0, now - lastAnswer) / 1000)} old. ` : ""}Trying again every two seconds.
        </div>
      )}
      {state === "back" && <div className={styles.back}>Connected again. The figures are up to date.</div>}
      <span role="status" className="visually-hidden">
        {state === "lost" ? "The connection to the dashboard's server is lost." : state === "back" ? "Connected again." : ""}
      </span>
    </>
  );
}
