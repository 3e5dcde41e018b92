import { expect, test } from "vitest";
import { EMOJI, findEmoji, withEmoji } from "../../src/model/emoji.js";
import { isEmojiOnly, mentionsIn, partsOf, wordAt } from "../../src/model/text.js";

test("a link ends before the punctuation of its sentence", () => {
  expect(partsOf("see https://example.org/a?b=c#d, or (http://x.y).")).toEqual([
    { kind: "text", text: "see " },
    { kind: "link", text: "https://example.org/a?b=c#d" },
    { kind: "text", text: ", or (" },
    { kind: "link", text: "http://x.y" },
    { kind: "text", text: ")." },
  ]);
});

test("only http and https make links", () => {
  expect(partsOf("javascript:alert(1) data:text/html,x")).toEqual([{ kind: "text", text: "javascript:alert(1) data:text/html,x" }]);
});

test("a mention is a member's name behind an @ that begins a word", () => {
  expect(mentionsIn("@bob and @carol, not me@dave or @nobody.", ["bob", "carol", "dave", "alice"])).toEqual(["bob", "carol"]);
});

test("code is neither a link nor a mention", () => {
  expect(partsOf("`@bob https://x.y`")).toEqual([{ kind: "code", text: "@bob https://x.y" }]);
});

test("up to three emoji alone are shown large", () => {
  expect(["👍", "🎉 ❤️", "👩‍💻👋🏽"].map(isEmojiOnly)).toEqual([true, true, true]);
  expect(["", "hi 👍", "42", "👍👍👍👍"].map(isEmojiOnly)).toEqual([false, false, false, false]);
});

test("names of emoji are replaced, unknown ones stay", () => {
  expect(withEmoji("done :tada: :no_such_name: 12:30:00")).toBe("done 🎉 :no_such_name: 12:30:00");
  expect(new Set(EMOJI.map(([name]) => name)).size).toBe(EMOJI.length);
  expect(EMOJI.length).toBeGreaterThan(200);
  expect(findEmoji("thumb", 2)[0]).toEqual(["thumbsup", "👍"]);
});

test("the word at the cursor is completed, others are not", () => {
  expect(wordAt("hello @bo", 9, "@")).toBe("bo");
  expect(wordAt("hello @bo there", 9, "@")).toBe("bo");
  expect(wordAt("hello @bo there", 12, "@")).toBeUndefined();
  expect(wordAt("a@bo", 4, "@")).toBeUndefined();
});
