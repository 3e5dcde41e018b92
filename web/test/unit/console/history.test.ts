import { expect, test } from "vitest";
import { appended, linePath, means, type Sample, STEP_MS, WINDOW_MS } from "../../../src/console/model/history.js";
import { totalsOf } from "../../../src/console/model/totals.js";
import { cluster, report, silence } from "./clusters.js";

test("samples older than the window go, and those of a clock that went back, too", () => {
  let samples: readonly Sample[] = [];
  for (let at = 0; at <= 2 * WINDOW_MS; at += 1_000) samples = appended(samples, { at, value: at });
  expect(samples).toHaveLength(WINDOW_MS / 1_000 + 1);
  expect(samples[0]).toEqual({ at: WINDOW_MS, value: WINDOW_MS });
  expect(appended(samples, { at: 5, value: 1 })).toEqual([{ at: 5, value: 1 }]);
});

test("a step is the mean of its samples, and undefined without any", () => {
  const now = 10 * WINDOW_MS;
  const steps = means(
    [
      { at: now - WINDOW_MS, value: 100 },
      { at: now - WINDOW_MS + 1, value: 7 },
      { at: now - 2 * STEP_MS + 1, value: 4 },
      { at: now - STEP_MS, value: 6 },
      { at: now, value: 3 },
    ],
    now,
  );
  expect(steps).toHaveLength(WINDOW_MS / STEP_MS);
  expect(steps[0]).toBe(7);
  expect(steps.slice(1, -2).every((value) => value === undefined)).toBe(true);
  expect(steps.slice(-2)).toEqual([5, 3]);
});

test("a line is scaled to its largest value, and interrupted where nothing was measured", () => {
  expect(linePath([0, 5, 10], 100, 20)).toBe("M0 20L50 10L100 0");
  expect(linePath([4, undefined, 4, 2, undefined], 100, 20)).toBe("M0 0h0M50 0L75 10");
  expect(linePath([0, 0], 100, 20)).toBe("M0 20L100 20");
  expect(linePath([undefined, undefined], 100, 20)).toBe("");
});

test("figures are sums over the nodes that answer, and the free space is that of the fullest disk", () => {
  const overview = cluster(3);
  overview.nodes[1]!.report = report({ sends_per_second: 1.5, disk_free_bytes: 77 });
  expect(totalsOf(silence(overview, 3))).toEqual({
    sends: 4,
    frames: 80,
    sessions: 24,
    detached: 6,
    connections: 28,
    connectionsLimit: 2_000,
    disk: 77,
  });
  for (const id of [1, 2]) silence(overview, id);
  expect(totalsOf(overview)).toBeUndefined();
});
