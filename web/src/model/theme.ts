// Light, dark, or as the system.

import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
export const THEMES = ["auto", "light", "dark"] as const;

const STORED = "rookery.theme";
const stored = localStorage.getItem(STORED);

export const theme = signal<Theme>(THEMES.find((one) => one === stored) ?? "auto");

effect(() => {
  localStorage.setItem(STORED, theme.value);
  document.documentElement.dataset.theme = theme.value;
});
