// Numbers in a row as one: a cluster has dozens of shards.

/** Returns ascending numbers as ranges, such as `0–3` and `7`. */
export function rangesOf(numbers: readonly number[]): string[] {
  const ranges: [number, number][] = [];
  for (const next of numbers) {
    const last = ranges.at(-1);
    if (last && next === last[1] + 1) last[1] = next;
    else ranges.push([next, next]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`));
}
