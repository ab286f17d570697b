// Repeatable randomness: the same seed gives the same cluster, and the same moment the same figures.

export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function pick<T>(rand: () => number, items: readonly T[]): T {
  return items[Math.floor(rand() * items.length)] as T;
}

export function hash(text: string): number {
  let value = 2_166_136_261;
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 16_777_619);
  return value >>> 0;
}

/** A smooth factor around 1 that differs by name and moves with time. */
export function wave(name: string, at: number, size = 0.15): number {
  const h = hash(name);
  return 1 + size * (0.6 * Math.sin(at / (20 + (h % 40)) + h) + 0.4 * Math.sin(at / (300 + (h % 900)) + h * 3));
}
