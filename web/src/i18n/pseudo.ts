// A language that exists for tests: longer texts between brackets, so that a text beside the catalogues is seen at once.

const ACCENTS: Readonly<Record<string, string>> = { a: "á", e: "é", i: "í", o: "ó", u: "ú", n: "ñ", s: "š", c: "ç" };

export function pseudo(text: string): string {
  const accented = text.replace(/\{\w+\}|[aeiounsc]/g, (part) => ACCENTS[part] ?? part);
  return `⟦${accented}~~⟧`;
}
