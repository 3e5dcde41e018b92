// The answers of the admin API, as far as the console shows them.

export interface Report {
  version: string;
  uptime_ms: number;
  state: "serving" | "handing_over" | "draining" | "drained" | "isolated";
  not_ready: string | null;
  fsync: boolean;
  disk_free_bytes: number;
  disk_reserve_bytes: number;
  sessions: number;
  detached: number;
  connections: number;
  connections_limit: number;
  sends_per_second: number;
  frames_out_per_second: number;
  /** Milliseconds of the last seconds; null without a send or an fsync, absent from older nodes. */
  ack_p50_ms?: number | null;
  ack_p99_ms?: number | null;
  fsync_p99_ms?: number | null;
  clock_skew_ms: number | null;
}

export interface ClusterNode {
  id: number;
  addr: string;
  zone: string;
  /** `replicas`, `gateway` or `leaving`. */
  duty: string;
  /** True without an answer within the time of the overview. */
  silent: boolean;
  alive: boolean;
  /** Shards that the node owns, the meta group among them. */
  owned: number;
  report: Report | null;
}

export interface Replica {
  node: number;
  role: string | null;
  applied: number | null;
  /** Entries behind the log of the leader. */
  lag: number | null;
  voter: boolean | null;
}

export interface Shard {
  shard: number;
  owner: number | null;
  epoch: number;
  replicas: Replica[];
}

export interface Overview {
  node: number;
  cluster: string;
  map_version: number;
  feature_level: number;
  replication: number;
  nodes: ClusterNode[];
  shards: Shard[];
  meta: Shard;
}

export interface StopVerdict {
  node: number;
  can_stop: boolean;
  /** Shards that would lose their majority, without the meta group. */
  shards: number[];
  meta: boolean;
  down: number[];
}

export interface Session {
  id: string;
  device?: string;
  node: number;
  since: number;
  detached: boolean;
  /** Null if the session did not answer in time; absent from older nodes. */
  resumes?: number | null;
  outbox_bytes?: number | null;
}

export interface AuditEvent {
  seq: number;
  ts: number;
  who?: string;
  key_id?: string;
  act: string;
  target: string;
  count: number;
  outcome?: string;
}

/** Number of the meta group. */
const META = 65_535;
const LEAVING: readonly string[] = ["handing_over", "draining", "drained"];
const VOTING: readonly (string | null)[] = ["leader", "follower", "candidate"];

export type NodeState = Report["state"] | "silent" | "not_ready";

export const isMeta = (shard: Shard): boolean => shard.shard === META;
/** The name of a group: its number, or the given name of the meta group. */
export const nameOf = (shard: number, meta: string): string => (shard === META ? meta : String(shard));
export const groups = (overview: Overview): Shard[] => [...overview.shards, overview.meta];

/** The state of a node in one word. */
export function stateOf(node: ClusterNode): NodeState {
  if (!node.report) return "silent";
  return node.report.state === "serving" && node.report.not_ready !== null ? "not_ready" : node.report.state;
}

/** True of a node that an operator drains, or has drained. */
export const isLeaving = (node: ClusterNode): boolean => node.report !== null && LEAVING.includes(node.report.state);

/** The number of voters of a group, and of those among them that report to vote. */
export function votes(group: Shard): { voters: number; working: number } {
  const voters = group.replicas.filter((replica) => replica.voter !== false);
  return { voters: voters.length, working: voters.filter((replica) => VOTING.includes(replica.role)).length };
}

/** The replicas of all groups on a node. */
export const replicasOn = (overview: Overview, node: number): number =>
  groups(overview).filter((group) => group.replicas.some((replica) => replica.node === node)).length;
