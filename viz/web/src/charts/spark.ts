// The path of a small chart.

export const WIDTH = 64;
export const HEIGHT = 20;

export function sparkPath(values: (number | null)[], min: number, max?: number, width = WIDTH, height = HEIGHT): string {
  const known = values.filter((v): v is number => v !== null);
  if (known.length === 0) return "";
  const top = max ?? Math.max(...known);
  const low = Math.min(min, ...known);
  const span = top - low || 1;
  const step = values.length > 1 ? (width - 2) / (values.length - 1) : 0;
  let path = "";
  let pen = "M";
  values.forEach((value, i) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const y = top === low ? height / 2 : height - 2 - ((value - low) / span) * (height - 4);
    path += `${pen}${(1 + i * step).toFixed(1)} ${y.toFixed(1)}`;
    // A value with gaps on both sides is still a visible dot.
    if (pen === "M" && (i === values.length - 1 || values[i + 1] === null)) path += "h0.01";
    pen = "L";
  });
  return path;
}
