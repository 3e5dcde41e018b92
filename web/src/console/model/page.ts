// The shown page, in the part of the address behind `#`: a reload and the button "back" keep it.

import { signal } from "@preact/signals";

export const PAGES = ["overview", "nodes", "shards", "failovers", "sessions", "warnings", "events"] as const;
export type PageName = (typeof PAGES)[number];

export const page = signal<PageName>(parse(location.hash));

addEventListener("hashchange", () => {
  page.value = parse(location.hash);
});

function parse(hash: string): PageName {
  return PAGES.find((name) => hash === `#/${name}`) ?? "overview";
}
