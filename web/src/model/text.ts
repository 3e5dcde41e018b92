// Parts of a text: links, mentions and code. Everything else stays as it was written.

export type Part = { kind: "text" | "code" | "mention" | "link"; text: string };

const PARTS = /(`[^`\n]+`)|(https?:\/\/[^\s<>"]*[^\s<>"'.,;:!?)\]}])|(?<![\w@.])@([A-Za-z0-9_.@+-]*[A-Za-z0-9_@+-])/g;
const EMOJI_ONLY = /^(?:\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\uFE0F|\u200D\p{Extended_Pictographic})*\s*){1,3}$/u;

export function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  let at = 0;
  for (const match of text.matchAll(PARTS)) {
    const [whole, code, link] = match;
    if (match.index > at) parts.push({ kind: "text", text: text.slice(at, match.index) });
    parts.push(code ? { kind: "code", text: code.slice(1, -1) } : { kind: link ? "link" : "mention", text: whole });
    at = match.index + whole.length;
  }
  if (at < text.length) parts.push({ kind: "text", text: text.slice(at) });
  return parts;
}

/** Returns the users of a list that a text mentions. */
export function mentionsIn(text: string, users: readonly string[]): string[] {
  const named = new Set(partsOf(text).flatMap((part) => (part.kind === "mention" ? [part.text.slice(1)] : [])));
  return users.filter((user) => named.has(user));
}

/** True of one to three emoji and nothing else. */
export const isEmojiOnly = (text: string): boolean => EMOJI_ONLY.test(text);

/** Returns the word with this sign at its beginning that ends at the cursor. */
export function wordAt(text: string, cursor: number, sign: "@" | ":"): string | undefined {
  const word = /\S*$/.exec(text.slice(0, cursor))?.[0] ?? "";
  return word.startsWith(sign) && word.length > 1 && !word.slice(1).includes(sign) ? word.slice(1) : undefined;
}
