import type { Phase, Status } from "@rookery/client";
import { expect, test } from "vitest";
import { bannerOf } from "../../src/model/banner.js";

const status = (phase: Phase, more: Partial<Status> = {}): Status => ({ phase, since: 1_000, leader: true, store: "durable", ...more });

test("a live connection needs no words", () => {
  expect(bannerOf(status("live"), 0)).toBeUndefined();
});

test("every other phase has its own", () => {
  const phases: Phase[] = ["offline", "connecting", "syncing", "waiting", "displaced", "refused"];
  expect(new Set(phases.map((phase) => bannerOf(status(phase), 0)?.key)).size).toBe(phases.length);
});

test("the time to the next attempt is rounded up and never negative", () => {
  expect(bannerOf(status("waiting", { retryAt: 5_100 }), 1_000)).toMatchObject({ key: "banner.waiting", seconds: 5 });
  expect(bannerOf(status("waiting", { retryAt: 500 }), 1_000)).toMatchObject({ seconds: 0 });
});

test("a node that is stopping is named as the reason", () => {
  expect(bannerOf(status("waiting", { why: "closed 4012" }), 0)?.key).toBe("banner.moving");
  expect(bannerOf(status("connecting", { why: "closed 4012" }), 0)?.key).toBe("banner.moving");
});
