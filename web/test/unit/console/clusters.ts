// Clusters for tests: a healthy one, and changes of it.

import type { Overview, Report, Shard } from "../../../src/console/model/overview.js";

export const report = (more: Partial<Report> = {}): Report => ({
  version: "0.1.0",
  uptime_ms: 90_061_000,
  state: "serving",
  not_ready: null,
  fsync: true,
  disk_free_bytes: 10 * 2 ** 30,
  disk_reserve_bytes: 2 ** 30,
  sessions: 12,
  detached: 3,
  connections: 14,
  connections_limit: 1_000,
  sends_per_second: 2.5,
  frames_out_per_second: 40,
  clock_skew_ms: -2,
  ...more,
});

/** Nodes that own a shard each, with a replica of every shard on every node. */
export function cluster(nodes: number): Overview {
  const ids = Array.from({ length: nodes }, (_, i) => i + 1);
  const shard = (shard: number, owner: number): Shard => ({
    shard,
    owner,
    epoch: 7,
    replicas: ids.map((node) => ({
      node,
      role: node === owner ? "leader" : "follower",
      applied: 100,
      lag: node === owner ? 0 : 1,
      voter: true,
    })),
  });
  return {
    node: 1,
    cluster: "f5e62b3f67b8a9d9",
    map_version: 3,
    feature_level: 1,
    replication: 3,
    nodes: ids.map((id) => ({
      id,
      addr: `10.0.0.${id}:9080`,
      zone: "",
      duty: "replicas",
      silent: false,
      alive: true,
      owned: 1,
      report: report(),
    })),
    shards: ids.map((id) => shard(id - 1, id)),
    meta: shard(65_535, 1),
  };
}

export const all = (overview: Overview): Shard[] => [...overview.shards, overview.meta];

/** Lets a node fall silent; the shards that it owned are without an owner. */
export function silence(overview: Overview, id: number): Overview {
  const node = overview.nodes[id - 1]!;
  Object.assign(node, { silent: true, alive: false, report: null });
  for (const shard of all(overview)) {
    Object.assign(shard.replicas[id - 1]!, { role: null, applied: null, lag: null });
    if (shard.owner === id) shard.owner = null;
  }
  return overview;
}
