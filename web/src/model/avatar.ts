// What stands for a user: a picture, or colored initials.

/**
 * Returns the address of a picture on the host of the page. Another host would learn from each view who reads when, and the
 * policy of the page permits none: its pictures are initials.
 */
export function pictureOf(avatar: string, origin: string): string | undefined {
  try {
    const url = new URL(avatar, origin);
    return url.origin === origin ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** One of eight colors, the same for a name each time. */
export function hueOf(id: string): number {
  let hash = 0;
  for (const char of id) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return hash % 8;
}

export function initials(name: string): string {
  const words = name.split(/[\s._@+-]+/).filter(Boolean);
  const [first = "?", second] = words;
  const begin = (word: string) => [...word][0] ?? "";
  return (begin(first) + (second ? begin(second) : "")).toLocaleUpperCase();
}
