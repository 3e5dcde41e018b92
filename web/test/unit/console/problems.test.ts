import { expect, test } from "vitest";
import type { Report } from "../../../src/console/model/overview.js";
import { grouped, problemsOf } from "../../../src/console/model/problems.js";
import { all, cluster, silence } from "./clusters.js";

const GIB = 2 ** 30;
const whats = (overview: ReturnType<typeof cluster>) => problemsOf(overview).map(({ what }) => what);

test("a healthy cluster has no problem, and each fault has one", () => {
  expect(whats(cluster(3))).toEqual([]);
  const faults: [Partial<Report>, string][] = [
    [{ not_ready: "x" }, "node_not_ready"],
    [{ fsync: false }, "fsync_off"],
    [{ clock_skew_ms: -501 }, "clock_wrong"],
    [{ disk_free_bytes: 2 * GIB - 1 }, "disk_nearly_full"],
    [{ disk_free_bytes: GIB - 1 }, "disk_full"],
    [{ version: "0.2.0" }, "versions_differ"],
  ];
  for (const [fault, what] of faults) {
    const overview = cluster(3);
    Object.assign(overview.nodes[1]!.report!, fault);
    expect(whats(overview)).toEqual([what]);
  }
  const edge = cluster(3);
  Object.assign(edge.nodes[1]!.report!, { clock_skew_ms: 500, disk_free_bytes: 2 * GIB });
  expect(whats(edge)).toEqual([]);
});

test("a silent node takes the spare replica of every shard, and what is critical comes first", () => {
  const overview = silence(cluster(3), 3);
  expect(whats(overview)).toEqual(["shard_without_owner", ...Array(4).fill("no_spare_replica"), "node_silent"]);
  silence(overview, 2);
  expect(whats(overview).filter((what) => what === "no_majority")).toHaveLength(4);
});

test("the only replica of a cluster of one has none to spare, which is no problem", () => {
  expect(whats(cluster(1))).toEqual([]);
});

test("a replica that has failed does not vote, and one that is being copied is not missed", () => {
  const failed = cluster(3);
  failed.meta.replicas[1]!.role = "failed";
  expect(whats(failed)).toEqual(["no_spare_replica"]);
  const copied = cluster(4);
  for (const shard of all(copied)) Object.assign(shard.replicas[3]!, { role: "learner", voter: false });
  expect(whats(copied)).toEqual([]);
  Object.assign(copied.shards[0]!.replicas[2]!, { role: "learner", voter: false });
  expect(whats(copied)).toEqual(["no_spare_replica", "too_few_replicas"]);
});

test("problems of one kind are one group, with the shards and the meta group apart", () => {
  const groups = grouped(problemsOf(silence(cluster(3), 3)));
  expect(groups.map(({ what, shards, meta }) => [what, shards, meta])).toEqual([
    ["shard_without_owner", [2], false],
    ["no_spare_replica", [0, 1, 2], true],
    ["node_silent", [], false],
  ]);
});
