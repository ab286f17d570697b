// Finding resources by parts of their names.
import type { ResourceItem } from "../api/types";

/** Every word must occur in the name, the namespace or the type. Names that begin with the first word come first. */
export function findResources<T extends ResourceItem>(items: readonly T[], text: string, limit: number): T[] {
  const words = text.toLowerCase().split(/[\s/]+/).filter(Boolean);
  const starting: T[] = [];
  const containing: T[] = [];
  for (const item of items) {
    const whole = `${item.name} ${item.namespace} ${item.type}`.toLowerCase();
    if (!words.every((word) => whole.includes(word))) continue;
    (words[0] && !item.name.toLowerCase().startsWith(words[0]) ? containing : starting).push(item);
    if (starting.length >= limit) break;
  }
  return [...starting, ...containing].slice(0, limit);
}
