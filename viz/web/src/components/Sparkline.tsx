// A small chart in a row: one line without axes; the figure beside it says the value.
import { HEIGHT, sparkPath, WIDTH } from "../charts/spark";
import styles from "./Sparkline.module.css";

interface Props {
  values: (number | null)[] | undefined;
  /** The range of the axis; by default from 0 to the largest value. */
  min?: number;
  max?: number;
  tone?: "neutral" | "good" | "warn" | "bad" | "none";
}


export function Sparkline({ values, min = 0, max, tone = "neutral" }: Props) {
  const path = values ? sparkPath(values, min, max) : "";
  return (
    <svg className={`${styles.spark} ${styles[tone]}`} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} preserveAspectRatio="none" aria-hidden focusable="false">
      <path d={path} vectorEffect="non-scaling-stroke" fill="none" strokeWidth="1.5" strokeLinejoin="round" strokeLinecap="round" />
    </svg>
  );
}
