// What is open on the screen, besides the conversation.

import { effect, signal } from "@preact/signals";

/** The panel beside the timeline. */
export const panel = signal<"details" | "search" | undefined>(undefined);
/** The dialog over the page. */
export const dialog = signal<"new" | "menu" | undefined>(undefined);

const STORED = "rookery.drawer";
/** The developer drawer. */
export const drawer = signal(localStorage.getItem(STORED) === "open");
effect(() => localStorage.setItem(STORED, drawer.value ? "open" : ""));

/** Where the timeline goes next: a position of a message. */
export const target = signal<{ key: string; s: number } | undefined>(undefined);

/** Texts that were begun, by conversation. */
export const drafts = signal<Readonly<Record<string, string>>>({});

export function draft(key: string, text: string): void {
  if ((drafts.peek()[key] ?? "") !== text) drafts.value = { ...drafts.peek(), [key]: text };
}
