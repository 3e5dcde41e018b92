// The course of a figure over the last 15 minutes. Its value stands beside it as text.

import { linePath, means, type Sample } from "../model/history.js";

const WIDTH = 180;
const HEIGHT = 32;

export function Sparkline({ samples, now }: { samples: readonly Sample[]; now: number }) {
  return (
    <svg class="sparkline" viewBox={`0 -2 ${WIDTH} ${HEIGHT + 4}`} preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <path d={linePath(means(samples, now), WIDTH, HEIGHT)} />
    </svg>
  );
}
