// Figures of the whole cluster: sums over the nodes that answer.

import type { Overview } from "./overview.js";

export const FIGURES = ["sends", "frames", "sessions", "connections", "disk"] as const;
export type Figure = (typeof FIGURES)[number];

export interface Totals extends Record<Figure, number> {
  detached: number;
  connectionsLimit: number;
}

/** Returns the figures; undefined if no node answers. The free space is that of the fullest disk. */
export function totalsOf(overview: Overview): Totals | undefined {
  const reports = overview.nodes.flatMap(({ report }) => report ?? []);
  if (reports.length === 0) return undefined;
  const sum = (value: (report: (typeof reports)[number]) => number) => reports.reduce((total, report) => total + value(report), 0);
  return {
    sends: sum((report) => report.sends_per_second),
    frames: sum((report) => report.frames_out_per_second),
    sessions: sum((report) => report.sessions),
    detached: sum((report) => report.detached),
    connections: sum((report) => report.connections),
    connectionsLimit: sum((report) => report.connections_limit),
    disk: Math.min(...reports.map((report) => report.disk_free_bytes)),
  };
}
