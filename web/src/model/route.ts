// The open conversation, in the part of the address behind `#`: a reload and the button "back" keep it.

import { signal } from "@preact/signals";

/** Key of the open conversation: its id, or `to:<user>`. */
export const openKey = signal<string | undefined>(parse(location.hash));

addEventListener("hashchange", () => {
  openKey.value = parse(location.hash);
});

function parse(hash: string): string | undefined {
  const [, kind, id] = /^#\/(c|to)\/(.+)$/.exec(hash) ?? [];
  if (!id) return undefined;
  return kind === "to" ? `to:${decodeURIComponent(id)}` : decodeURIComponent(id);
}

export function hrefOf(key: string): string {
  return key.startsWith("to:") ? `#/to/${encodeURIComponent(key.slice(3))}` : `#/c/${encodeURIComponent(key)}`;
}

export function openConversation(key: string | undefined): void {
  if (key) location.hash = hrefOf(key);
  else {
    history.pushState(null, "", location.pathname + location.search);
    openKey.value = undefined;
  }
}
