// The overview, asked for once a second while the page is visible, and its history.

import { signal } from "@preact/signals";
import { type ApiError, read, refusal } from "./api.js";
import { appended, type Sample } from "./history.js";
import type { Overview } from "./overview.js";
import { FIGURES, type Figure, totalsOf } from "./totals.js";

const PERIOD_MS = 1_000;

export const overview = signal<Overview | undefined>(undefined);
/** The failure of the last request; undefined if it succeeded. */
export const failure = signal<ApiError | undefined>(undefined);
/** When the shown overview came. */
export const asOf = signal(0);

const none: Record<Figure, Sample[]> = { sends: [], frames: [], sessions: [], connections: [], disk: [] };
export const history = signal<Readonly<Record<Figure, readonly Sample[]>>>(none);

let timer: ReturnType<typeof setTimeout> | undefined;
let asking = false;

/** Begins to ask, and goes on for the life of the page. */
export function begin(): void {
  document.addEventListener("visibilitychange", look);
  refusal.subscribe(look);
}

function look(): void {
  clearTimeout(timer);
  if (document.visibilityState === "visible" && !refusal.peek() && !asking) void ask();
}

async function ask(): Promise<void> {
  const began = performance.now();
  asking = true;
  try {
    const found = await read<Overview>("/v1/admin/overview");
    overview.value = found;
    asOf.value = Date.now();
    failure.value = undefined;
    keep(found);
  } catch (error) {
    failure.value = error as ApiError;
  }
  asking = false;
  timer = setTimeout(look, Math.max(0, PERIOD_MS - (performance.now() - began)));
}

function keep(found: Overview): void {
  const totals = totalsOf(found);
  if (!totals) return;
  const at = Date.now();
  const entries = FIGURES.map((name) => [name, appended(history.peek()[name], { at, value: totals[name] })]);
  history.value = Object.fromEntries(entries);
}
