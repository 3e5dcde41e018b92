// Values of the last 15 minutes, kept by the page, and their lines.

/** Milliseconds that a line shows. */
export const WINDOW_MS = 15 * 60_000;
/** Milliseconds of one point of a line. */
export const STEP_MS = 5_000;

export interface Sample {
  at: number;
  value: number;
}

/** Returns the samples with a new one, without those that are older than the window. */
export function appended(samples: readonly Sample[], sample: Sample): Sample[] {
  const from = sample.at - WINDOW_MS;
  return [...samples.filter(({ at }) => at >= from && at <= sample.at), sample];
}

/** The means of the steps from the beginning of the window to `now`; undefined where nothing was measured. */
export function means(samples: readonly Sample[], now: number): (number | undefined)[] {
  const steps = WINDOW_MS / STEP_MS;
  const sums = Array.from({ length: steps }, () => ({ sum: 0, count: 0 }));
  for (const { at, value } of samples) {
    const step = sums[steps - 1 - Math.floor((now - at) / STEP_MS)];
    if (!step || at > now) continue;
    step.sum += value;
    step.count += 1;
  }
  return sums.map(({ sum, count }) => (count === 0 ? undefined : sum / count));
}

/**
 * Returns the path of a line (SVG) in a box, from 0 at the bottom to the largest value at the top. A time without samples
 * is a gap: the page was hidden, or no node answered.
 */
export function linePath(values: readonly (number | undefined)[], width: number, height: number): string {
  const top = Math.max(0, ...values.filter((value) => value !== undefined));
  const x = (i: number) => round((i * width) / Math.max(1, values.length - 1));
  const y = (value: number) => round(height - (top === 0 ? 0 : (value / top) * height));
  let path = "";
  values.forEach((value, i) => {
    if (value === undefined) return;
    const joined = values[i - 1] !== undefined;
    path += `${joined ? "L" : "M"}${x(i)} ${y(value)}`;
    // A point between two gaps is a line without length, which round caps make visible.
    if (!joined && values[i + 1] === undefined) path += "h0";
  });
  return path;
}

const round = (value: number): number => Math.round(value * 10) / 10;
