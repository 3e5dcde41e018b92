// The overview, once a second while the page is visible, and its history: from the stream of the node, or else by asking.

import { signal } from "@preact/signals";
import { type ApiError, onToken, open, read, refusal } from "./api.js";
import { appended, type Sample } from "./history.js";
import type { Overview } from "./overview.js";
import { readEvents } from "./stream.js";
import { FIGURES, type Figure, totalsOf } from "./totals.js";

const PERIOD_MS = 1_000;
/** Milliseconds without an overview after which a stream counts as broken. */
const SILENCE_MS = 5_000;
/** Milliseconds after which a page that asks tries the stream again: the node was full, or of an older version. */
const RETRY_MS = 60_000;

export const overview = signal<Overview | undefined>(undefined);
/** The failure of the last request; undefined if it succeeded. */
export const failure = signal<ApiError | undefined>(undefined);
/** When the shown overview came. */
export const asOf = signal(0);

const none: Record<Figure, Sample[]> = { sends: [], frames: [], ack: [], fsync: [], sessions: [], connections: [], disk: [] };
export const history = signal<Readonly<Record<Figure, readonly Sample[]>>>(none);

let timer: ReturnType<typeof setTimeout> | undefined;
let asking = false;
let stream: AbortController | undefined;
let streamFrom = 0;

/** Begins to follow the cluster, and goes on for the life of the page. */
export function begin(): void {
  document.addEventListener("visibilitychange", look);
  refusal.subscribe(look);
  // Another token may read more or less: the stream of the former one ends, and the next request tells.
  onToken(() => stream?.abort());
}

const isWanted = (): boolean => document.visibilityState === "visible" && !refusal.peek();

function look(): void {
  clearTimeout(timer);
  if (!isWanted()) {
    // A hidden page follows nothing, and neither does one whose token was refused.
    stream?.abort();
    return;
  }
  if (!asking && !stream) void ask();
}

/** Asks once, and follows the stream if there is one. */
async function ask(): Promise<void> {
  const began = performance.now();
  asking = true;
  try {
    take(await read<Overview>("/v1/admin/overview"));
    if (isWanted() && performance.now() >= streamFrom) void follow();
  } catch (error) {
    failure.value = error as ApiError;
  }
  asking = false;
  if (!stream) timer = setTimeout(look, Math.max(0, PERIOD_MS - (performance.now() - began)));
}

async function follow(): Promise<void> {
  const own = new AbortController();
  stream = own;
  try {
    const body = await open("/v1/admin/stream", own.signal);
    await readEvents(body, SILENCE_MS, (data) => take(JSON.parse(data)));
  } catch {
    // Whether the node is gone or has no stream: the next request tells.
    if (!own.signal.aborted) streamFrom = performance.now() + RETRY_MS;
  }
  own.abort();
  stream = undefined;
  look();
}

function take(found: Overview): void {
  overview.value = found;
  asOf.value = Date.now();
  failure.value = undefined;
  keep(found);
}

function keep(found: Overview): void {
  const totals = totalsOf(found);
  if (!totals) return;
  const at = Date.now();
  const entries = FIGURES.map((name) => {
    const value = totals[name];
    // A latency without a send is a gap in its line.
    return [name, value === undefined ? history.peek()[name] : appended(history.peek()[name], { at, value })];
  });
  history.value = Object.fromEntries(entries);
}
