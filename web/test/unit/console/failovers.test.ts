import { expect, test } from "vitest";
import { type Failover, longestOf, marksOf } from "../../../src/console/model/failovers.js";
import { eventsIn } from "../../../src/console/model/stream.js";

const failover = (ts: number, unavailable_ms: number | null): Failover => ({
  seq: ts,
  ts,
  shard: 0,
  from: 1,
  to: 2,
  epoch: ts,
  why: "killed",
  unavailable_ms,
});

test("the longest gap is that of the failovers with a known one", () => {
  expect(longestOf([])).toBeUndefined();
  expect(longestOf([failover(1, null)])).toBeUndefined();
  expect(longestOf([failover(1, 5), failover(2, null), failover(3, 40), failover(4, 40)])?.ts).toBe(3);
});

test("failovers of one moment are one mark, and the line ends now", () => {
  const marks = marksOf([failover(0, 10), failover(1, 30), failover(500, null), failover(1_000, 5)], 1_000);
  expect(marks.map(({ count, longest }) => [count, longest])).toEqual([
    [2, 30],
    [1, 0],
    [1, 5],
  ]);
  expect(marks[0]?.at).toBe(0);
  expect(marks[2]?.at).toBe(1);
  // One that this machine's clock takes for the future stands at the end.
  expect(marksOf([failover(2_000, 1)], 1_000)).toEqual([{ at: 1, count: 1, longest: 1 }]);
});

test("events are read from pieces of any size", () => {
  const stream = ': hello\n\nevent: overview\ndata: {"a":\ndata:1}\n\nevent: x\n\ndata: 2\n\nda';
  for (const size of [1, 7, stream.length]) {
    let text = "";
    const found: string[] = [];
    for (let at = 0; at < stream.length; at += size) {
      const { data, rest } = eventsIn(text + stream.slice(at, at + size));
      found.push(...data);
      text = rest;
    }
    expect(found).toEqual(['{"a":\n1}', "2"]);
    expect(text).toBe("da");
  }
});
