// The language of a page, its catalogues of texts, and the formats of `Intl`.

import { computed, effect, signal } from "@preact/signals";
import { pseudo } from "./pseudo.js";

export type Params = Readonly<Record<string, string | number>>;
export type Entry = string | { one: string; other: string };

const STORED = "rookery.locale";
/** Names of the languages, in themselves. */
export const LOCALES: Readonly<Record<string, string>> = { en: "English", de: "Deutsch" };

const query = new URLSearchParams(location.search);
export const locale = signal<string>(first([query.get("locale"), localStorage.getItem(STORED), ...navigator.languages]));

const plurals = computed(() => new Intl.PluralRules(tag()));
const numbers = computed(() => new Intl.NumberFormat(tag()));
const times = computed(() => new Intl.DateTimeFormat(tag(), { hour: "numeric", minute: "2-digit" }));
const seconds = computed(() => new Intl.DateTimeFormat(tag(), { hour: "numeric", minute: "2-digit", second: "2-digit" }));
const days = computed(() => new Intl.DateTimeFormat(tag(), { weekday: "long", day: "numeric", month: "long" }));
const dates = computed(() => new Intl.DateTimeFormat(tag(), { dateStyle: "medium" }));
const moments = computed(() => new Intl.DateTimeFormat(tag(), { dateStyle: "medium", timeStyle: "medium" }));
const relative = computed(() => new Intl.RelativeTimeFormat(tag(), { numeric: "auto" }));
const lists = computed(() => new Intl.ListFormat(tag(), { type: "conjunction" }));

effect(() => {
  document.documentElement.lang = tag();
  document.documentElement.dir = query.get("dir") === "rtl" ? "rtl" : "ltr";
});

export function setLocale(chosen: string): void {
  localStorage.setItem(STORED, chosen);
  locale.value = chosen;
}

/** Makes the functions for the texts of a part: a catalogue per language, all with the keys of the English one. */
export function translator<Key extends string>(catalogues: { en: Record<Key, Entry> } & Record<string, Record<Key, Entry>>) {
  const texts = computed(() => catalogues[locale.value] ?? catalogues.en);
  return {
    /** Returns a text. An entry with forms takes the one for `n`. */
    t(key: Key, params: Params = {}): string {
      const entry = texts.value[key];
      const { n } = params;
      const form = typeof entry === "string" ? entry : plurals.value.select(Number(n)) === "one" ? entry.one : entry.other;
      return (locale.value === "pseudo" ? pseudo(form) : form).replace(/\{(\w+)\}/g, (_, name: string) => {
        const value = params[name] ?? "";
        return typeof value === "number" ? number(value) : value;
      });
    },
    /** True if the catalogue has this key: codes of the server need not. */
    has: (key: string): key is Key => key in catalogues.en,
  };
}

export const number = (value: number): string => numbers.value.format(value);
export const time = (ts: number): string => times.value.format(ts);
export const timeWithSeconds = (ts: number): string => seconds.value.format(ts);
export const moment = (ts: number): string => moments.value.format(ts);
export const list = (items: readonly string[]): string => lists.value.format(items);

/** The day of a separator: today, yesterday, or its date. */
export function day(ts: number): string {
  const age = daysAgo(ts);
  if (age > 1) return age < 300 ? days.value.format(ts) : dates.value.format(ts);
  const text = relative.value.format(-age, "day");
  return text.charAt(0).toLocaleUpperCase(tag()) + text.slice(1);
}

/** The time of a row in the inbox: the hour today, the date before. */
export function shortTime(ts: number): string {
  const age = daysAgo(ts);
  if (age <= 0) return time(ts);
  return age === 1 ? relative.value.format(-1, "day") : dates.value.format(ts);
}

export function ago(ts: number, now: number): string {
  const minutes = Math.round((now - ts) / 60_000);
  if (minutes < 1) return relative.value.format(0, "minute");
  if (minutes < 60) return relative.value.format(-minutes, "minute");
  if (minutes < 24 * 60) return relative.value.format(-Math.round(minutes / 60), "hour");
  return relative.value.format(-Math.round(minutes / 1_440), "day");
}

function daysAgo(ts: number): number {
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  return Math.max(0, Math.ceil((midnight.getTime() - ts) / 86_400_000));
}

function tag(): string {
  return locale.value === "pseudo" ? "en" : locale.value;
}

function first(wanted: readonly (string | null)[]): string {
  for (const one of wanted) {
    const name = one?.toLowerCase().split("-")[0] ?? "";
    if (name === "pseudo" || name in LOCALES) return name;
  }
  return "en";
}
