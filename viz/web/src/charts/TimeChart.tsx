// A chart over time with axes. uPlot draws it; the caption says the latest values in words.
import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clock } from "../format/numbers";
import { useIsDark } from "../theme/theme";
import { scale, type Range } from "./scale";
import styles from "./TimeChart.module.css";

export interface Line {
  label: string;
  values: (number | null)[];
  color: "--chart" | "--chart-2" | "--chart-3";
  dash?: number[];
}
interface Props {
  title: string;
  from: number;
  step: number;
  lines: Line[];
  format: (value: number | null) => string;
  /** Fixed ends of the axis. */
  range?: Range;
}

const HEIGHT = 150;
/** Seconds between the marks of the time axis, which says hours and minutes. */
const TIME_STEPS = [60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400];

export default function TimeChart({ title, from, step, lines, format, range }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  // Where the pointer is: the caption then says the values of that moment.
  const [at, setAt] = useState<number | null>(null);
  const dark = useIsDark();
  const shape = lines.map((line) => `${line.label} ${line.color}`).join();
  const latest = useRef({ from, step, lines, format, range });
  useEffect(() => {
    latest.current = { from, step, lines, format, range };
    plot.current?.setData(dataOf(latest.current));
  });

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const chart = new uPlot(options(element, latest.current, setAt), dataOf(latest.current), element);
    plot.current = chart;
    const observer = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      chart.destroy();
      plot.current = null;
    };
    // Built anew when its lines or the colours change; figures come through setData.
  }, [shape, dark]);

  return (
    <figure className={styles.chart}>
      <figcaption className={styles.caption}>
        <span className={styles.title}>{title}{at !== null && <span className={styles.at}> at {clock(from + at * step)}</span>}</span>
        {lines.map((line, i) => (
          <span key={line.label} className={styles.key}>
            <svg width="14" height="8" aria-hidden><path d="M0 4h14" className={styles[`line${i}`]} strokeWidth="2.5" strokeDasharray={line.dash?.join(" ")} /></svg>
            {lines.length > 1 ? `${line.label} ` : ""}<b>{format(at === null ? (line.values.findLast((value) => value !== null) ?? null) : (line.values[at] ?? null))}</b>
          </span>
        ))}
      </figcaption>
      <div ref={host} className={styles.canvas} aria-hidden />
    </figure>
  );
}

function dataOf({ from, step, lines }: Pick<Props, "from" | "step" | "lines">): uPlot.AlignedData {
  const length = lines[0]?.values.length ?? 0;
  return [Array.from({ length }, (_, i) => from + i * step), ...lines.map((line) => line.values)];
}

function options(element: HTMLElement, { lines, format, range }: Pick<Props, "lines" | "format" | "range">, onCursor: (at: number | null) => void): uPlot.Options {
  const css = getComputedStyle(element);
  const color = (name: string): string => css.getPropertyValue(name).trim();
  const axis = { stroke: color("--muted"), font: `11px ${css.fontFamily}`, grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth, height: HEIGHT, legend: { show: false }, padding: [8, 20, 0, 0],
    cursor: { sync: { key: "weft" }, drag: { x: false, y: false }, points: { size: 7 } },
    hooks: { setCursor: [(chart) => onCursor(chart.cursor.left === undefined || chart.cursor.left < 0 ? null : (chart.cursor.idx ?? null))] },
    scales: {
      x: { time: true },
      y: { range: (_chart, low, high) => scale(low, high, range) },
    },
    axes: [
      { ...axis, values: (_chart, ticks) => ticks.map((at) => clock(at).slice(0, 5)), incrs: TIME_STEPS, space: 48, size: 26 },
      { ...axis, values: (_chart, ticks) => ticks.map((value) => format(value)), size: 62, space: 32 },
    ],
    series: [{}, ...lines.map((line) => ({ label: line.label, stroke: color(line.color), width: 2, dash: line.dash, points: { show: false }, spanGaps: false }))],
  };
}
