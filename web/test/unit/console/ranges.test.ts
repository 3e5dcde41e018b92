import { expect, test } from "vitest";
import { rangesOf } from "../../../src/console/model/ranges.js";

test("numbers in a row are one range", () => {
  expect(rangesOf([0, 1, 2, 3, 7, 9, 10])).toEqual(["0–3", "7", "9–10"]);
  expect(rangesOf([5])).toEqual(["5"]);
  expect(rangesOf([])).toEqual([]);
});
