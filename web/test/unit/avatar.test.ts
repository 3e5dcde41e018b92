import { expect, test } from "vitest";
import { initials, pictureOf } from "../../src/model/avatar.js";

const ORIGIN = "https://chat.example.org";

test("pictures of the page's own host are shown, those of others are not", () => {
  expect(pictureOf("/pictures/ada.png", ORIGIN)).toBe("https://chat.example.org/pictures/ada.png");
  expect(pictureOf("pictures/ada.png", ORIGIN)).toBe("https://chat.example.org/pictures/ada.png");
  expect(pictureOf("https://chat.example.org/ada.png", ORIGIN)).toBe("https://chat.example.org/ada.png");
  for (const other of [
    "https://example.org/ada.png",
    "//example.org/ada.png",
    "http://chat.example.org/ada.png",
    "javascript:alert(1)",
    "http://[",
  ])
    expect(pictureOf(other, ORIGIN), other).toBeUndefined();
});

test("initials are of the first two words of a name", () => {
  expect(initials("ada")).toBe("A");
  expect(initials("ada lovelace of london")).toBe("AL");
  expect(initials("")).toBe("?");
});
