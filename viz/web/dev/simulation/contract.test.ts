// The simulated answers are recorded, and weft's tests read the record with the types of the real server.
// `RECORD=1 npx vitest run dev/simulation/contract.test.ts` records anew.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { dispatch } from "./router";

const FILE = join(import.meta.dirname, "recorded.json");
const VOTING = "namespace=emojivoto&type=deployment&name=voting";
const CALLS = [
  "overview", "tps-reports?type=deployment&spark=true", "topology", `timeseries?${VOTING}`, `routes?${VOTING}`, "nodes", "control-plane", "check",
  "extensions", "gateways", "resources", "version", "pods", "services", "edges", `authz?${VOTING}`, `resource-definition?${VOTING}`,
  "resource/emojivoto/deployment/voting",
];
/** Of a list, so many items are recorded. */
const ITEMS = 8;

function shortened(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, ITEMS).map(shortened);
  if (typeof value === "object" && value !== null) return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shortened(item)]));
  return value;
}

/** The fields that a value has at any depth, as in `data.row.http`. */
function fields(value: unknown, path = ""): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => fields(item, path));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, item]) => [`${path}.${name}`, ...fields(item, `${path}.${name}`)]);
}

function answers(): Record<string, unknown> {
  return Object.fromEntries(CALLS.map((call) => [call, shortened(dispatch(new URL(`http://localhost/api/${call}`)))]));
}

it("has no field that the record of the simulation lacks", () => {
  const now = answers();
  if (process.env.RECORD) writeFileSync(FILE, `${JSON.stringify(now, null, 1)}\n`);
  const recorded = JSON.parse(readFileSync(FILE, "utf8")) as Record<string, unknown>;
  expect(Object.keys(recorded)).toEqual(CALLS);
  for (const call of CALLS) {
    const known = new Set(fields(recorded[call]));
    expect(fields(now[call]).filter((field) => !known.has(field)), call).toEqual([]);
  }
});
