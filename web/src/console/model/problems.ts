// Problems of a cluster by its overview: those of `rookery ctl check`, under the same names.

import { type ClusterNode, groups, isMeta, type Overview, type Shard, votes } from "./overview.js";

/** Largest difference of a clock from the majority's that is no problem. */
const CLOCK_MS = 500;

export type ProblemKind =
  | "shard_without_owner"
  | "no_majority"
  | "no_spare_replica"
  | "too_few_replicas"
  | "node_silent"
  | "node_not_ready"
  | "fsync_off"
  | "clock_wrong"
  | "disk_full"
  | "disk_nearly_full"
  | "versions_differ";

export interface Problem {
  severity: "critical" | "warning";
  what: ProblemKind;
  /** The shard of the problem; undefined if it concerns none. */
  shard?: Shard;
  /** The node of the problem; undefined if it concerns none. */
  node?: ClusterNode;
  /** The versions that differ. */
  versions?: string[];
}

/** Returns the problems of a cluster, the critical ones first. */
export function problemsOf(overview: Overview): Problem[] {
  const wanted = Math.min(overview.replication, overview.nodes.filter((node) => node.duty === "replicas").length);
  const found = [...groups(overview).flatMap((group) => ofGroup(group, wanted)), ...overview.nodes.flatMap(ofNode)];
  const versions = [...new Set(overview.nodes.flatMap((node) => node.report?.version ?? []))].sort();
  if (versions.length > 1) found.push({ severity: "warning", what: "versions_differ", versions });
  // Stable, so that the order within a severity is that of shards and nodes.
  return found.sort((a, b) => Number(a.severity === "warning") - Number(b.severity === "warning"));
}

function ofGroup(shard: Shard, wanted: number): Problem[] {
  const found: Problem[] = [];
  if (shard.owner === null) found.push({ severity: "critical", what: "shard_without_owner", shard });
  const { voters, working } = votes(shard);
  const majority = Math.floor(voters / 2) + 1;
  if (working < majority) found.push({ severity: "critical", what: "no_majority", shard });
  else if (working === majority && voters > 1) found.push({ severity: "warning", what: "no_spare_replica", shard });
  if (voters < wanted) found.push({ severity: "warning", what: "too_few_replicas", shard });
  return found;
}

function ofNode(node: ClusterNode): Problem[] {
  const { report } = node;
  if (!report) return [{ severity: "warning", what: "node_silent", node }];
  const found: Problem[] = [];
  const add = (what: ProblemKind, severity: Problem["severity"] = "warning") => found.push({ severity, what, node });
  if (report.disk_free_bytes < report.disk_reserve_bytes) add("disk_full", "critical");
  else if (report.disk_free_bytes < 2 * report.disk_reserve_bytes) add("disk_nearly_full");
  if (report.not_ready !== null) add("node_not_ready");
  if (!report.fsync) add("fsync_off");
  if (Math.abs(report.clock_skew_ms ?? 0) > CLOCK_MS) add("clock_wrong");
  return found;
}

/** Problems of one kind: with a node down each shard would otherwise have a line of its own. */
export interface ProblemGroup {
  severity: Problem["severity"];
  what: ProblemKind;
  problems: Problem[];
  /** Numbers of the shards concerned, without the meta group. */
  shards: number[];
  meta: boolean;
}

export function grouped(problems: readonly Problem[]): ProblemGroup[] {
  const found = new Map<ProblemKind, ProblemGroup>();
  for (const problem of problems) {
    const { severity, what, shard } = problem;
    const group = found.get(what) ?? { severity, what, problems: [], shards: [], meta: false };
    group.problems.push(problem);
    if (shard && isMeta(shard)) group.meta = true;
    else if (shard) group.shards.push(shard.shard);
    found.set(what, group);
  }
  return [...found.values()];
}
