import { expect, test } from "vitest";
import en from "../../../src/console/i18n/en.json";
import type { Overview } from "../../../src/console/model/overview.js";
import { sentenceOf, spareNodes } from "../../../src/console/model/sentence.js";
import { cluster, silence } from "./clusters.js";

/** The sentence in English. */
const sentence = (overview: Overview) =>
  sentenceOf(overview)
    .map(({ key, n, m }) => {
      const entry = en[key] as string | { one: string; other: string };
      const text = typeof entry === "string" ? entry : n === 1 ? entry.one : entry.other;
      return text.replace("{n}", String(n)).replace("{m}", String(m));
    })
    .join(", ");

test("a healthy cluster says how many nodes it may lose", () => {
  expect(sentence(cluster(3))).toBe("3 of 3 nodes, all 3 shards owned, may lose 1 node");
  expect(sentence(cluster(5))).toBe("5 of 5 nodes, all 5 shards owned, may lose 2 nodes");
  expect(sentence(cluster(1))).toBe("1 of 1 nodes, all 1 shards owned, may lose no node");
});

test("a silent node takes the spare one, and a second one the majority", () => {
  const overview = silence(cluster(3), 3);
  expect(sentence(overview)).toBe("2 of 3 nodes, 2 of 3 shards owned, may lose no node");
  silence(overview, 2);
  expect(sentence(overview)).toBe("1 of 3 nodes, 1 of 3 shards owned, 4 shards without a majority");
});

test("the group with the fewest spare replicas counts", () => {
  const overview = cluster(5);
  overview.shards[4]!.replicas.splice(3);
  expect(spareNodes(overview)).toBe(1);
});

test("a draining node counts as one that is about to stop, and takes no majority by it", () => {
  for (const state of ["handing_over", "draining", "drained"] as const) {
    const overview = cluster(3);
    overview.nodes[1]!.report!.state = state;
    expect(sentence(overview)).toBe("3 of 3 nodes, all 3 shards owned, may lose no node");
    overview.nodes[0]!.report!.state = state;
    expect(spareNodes(overview)).toBe(0);
  }
});
