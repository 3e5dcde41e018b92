// The history of failovers: the longest gap, and the places of the failovers on a line of time.

export interface Failover {
  seq: number;
  ts: number;
  shard: number;
  from: number | null;
  to: number;
  epoch: number;
  why: string;
  /** Time without an owner, as the new owner has seen it. */
  unavailable_ms: number | null;
}

export interface FailoverList {
  items: Failover[];
  partial?: boolean;
}

/** Failovers at about the same time, such as those of all shards of a node. */
export interface Mark {
  /** Place on the line, from 0 to 1. */
  at: number;
  count: number;
  longest: number;
}

/** Parts of the line that can be told apart. */
const PARTS = 120;

/** The failover with the longest gap; undefined if none has a known one. */
export function longestOf(items: readonly Failover[]): Failover | undefined {
  const known = items.filter(({ unavailable_ms }) => unavailable_ms !== null);
  return known.reduce<Failover | undefined>(
    (longest, one) => (longest && (longest.unavailable_ms ?? 0) >= (one.unavailable_ms ?? 0) ? longest : one),
    undefined,
  );
}

/** The failovers from the oldest to now on a line, those of one place together. */
export function marksOf(items: readonly Failover[], now: number): Mark[] {
  const from = Math.min(now, ...items.map(({ ts }) => ts));
  const length = Math.max(1, now - from);
  const marks = new Map<number, Mark>();
  for (const { ts, unavailable_ms } of items) {
    const part = Math.min(PARTS - 1, Math.floor(((ts - from) / length) * PARTS));
    const mark = marks.get(part) ?? { at: part / (PARTS - 1), count: 0, longest: 0 };
    mark.count += 1;
    mark.longest = Math.max(mark.longest, unavailable_ms ?? 0);
    marks.set(part, mark);
  }
  return [...marks.values()].sort((a, b) => a.at - b.at);
}
