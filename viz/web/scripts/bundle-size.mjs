// Reports the size of the built files, and fails if the first view needs more than it may.
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 300;
const dist = join(import.meta.dirname, "..", "dist");
const manifestFile = join(dist, ".vite", "manifest.json");
const manifest = JSON.parse(await readFile(manifestFile, "utf8"));

const sizes = new Map();
async function sizeOf(file) {
  if (!sizes.has(file)) {
    const content = await readFile(join(dist, file));
    sizes.set(file, { raw: content.length, gzip: gzipSync(content, { level: 9 }).length });
  }
  return sizes.get(file);
}

/** A chunk with everything that it imports at once. */
function closure(key, seen = new Set()) {
  if (seen.has(key)) return seen;
  seen.add(key);
  for (const next of manifest[key]?.imports ?? []) closure(next, seen);
  return seen;
}
function files(keys) {
  return [...new Set([...keys].flatMap((key) => [manifest[key].file, ...(manifest[key].css ?? [])]))];
}

const kb = (bytes) => `${(bytes / 1000).toFixed(1).padStart(7)} kB`;
async function report(title, names) {
  let gzip = 0;
  let raw = 0;
  for (const name of names) {
    const size = await sizeOf(name);
    gzip += size.gzip;
    raw += size.raw;
  }
  console.log(`${kb(gzip)} gzip ${kb(raw)}  ${title}`);
  return gzip;
}

const entry = Object.keys(manifest).find((key) => manifest[key].isEntry);
const first = files(closure(entry));
const firstView = [...first, "index.html", "theme.js", "favicon.svg"];
const total = await report("first view: index.html, scripts and styles of the start page", firstView);
for (const key of Object.keys(manifest).filter((k) => manifest[k].isDynamicEntry).sort()) {
  await report(`then, for ${key}`, files(closure(key)).filter((file) => !first.includes(file)));
}
const assets = Object.values(manifest).flatMap((chunk) => chunk.assets ?? []);
if (assets.length > 0) await report("the layout's worker, with the first map", [...new Set(assets)]);

// The manifest is for this report only.
await rm(join(dist, ".vite"), { recursive: true });
if (total > LIMIT_KB * 1000) {
  console.error(`the first view needs ${kb(total).trim()}; the limit is ${LIMIT_KB} kB`);
  process.exit(1);
}
