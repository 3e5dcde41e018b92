// Figures of the whole cluster: sums over the nodes that answer.

import type { Overview } from "./overview.js";

export const FIGURES = ["sends", "frames", "ack", "fsync", "sessions", "connections", "disk"] as const;
export type Figure = (typeof FIGURES)[number];

export interface Totals extends Record<Figure, number | undefined> {
  sends: number;
  frames: number;
  sessions: number;
  connections: number;
  disk: number;
  /** Median of the acknowledgements, in milliseconds. */
  ackHalf: number | undefined;
  detached: number;
  connectionsLimit: number;
}

/**
 * Returns the figures; undefined if no node answers. The free space is that of the fullest disk, and latencies are those of
 * the slowest node: quantiles of several nodes cannot be added. Without a send or an fsync they are undefined.
 */
export function totalsOf(overview: Overview): Totals | undefined {
  const reports = overview.nodes.flatMap(({ report }) => report ?? []);
  if (reports.length === 0) return undefined;
  const sum = (value: (report: (typeof reports)[number]) => number) => reports.reduce((total, report) => total + value(report), 0);
  const slowest = (value: (report: (typeof reports)[number]) => number | null | undefined) => {
    const known = reports.flatMap((report) => value(report) ?? []);
    return known.length === 0 ? undefined : Math.max(...known);
  };
  return {
    ack: slowest((report) => report.ack_p99_ms),
    ackHalf: slowest((report) => report.ack_p50_ms),
    fsync: slowest((report) => report.fsync_p99_ms),
    sends: sum((report) => report.sends_per_second),
    frames: sum((report) => report.frames_out_per_second),
    sessions: sum((report) => report.sessions),
    detached: sum((report) => report.detached),
    connections: sum((report) => report.connections),
    connectionsLimit: sum((report) => report.connections_limit),
    disk: Math.min(...reports.map((report) => report.disk_free_bytes)),
  };
}
