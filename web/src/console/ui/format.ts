// Values as texts of the console.

import { list } from "../../i18n/core.js";
import { has, t } from "../i18n/index.js";
import { ApiError } from "../model/api.js";
import { rangesOf } from "../model/ranges.js";

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const KIB = 2 ** 10;

export function size(bytes: number): string {
  if (bytes >= GIB) return t("size.gib", { n: tenths(bytes / GIB) });
  return bytes >= MIB ? t("size.mib", { n: Math.floor(bytes / MIB) }) : t("size.kib", { n: Math.ceil(bytes / KIB) });
}

/** A time span by its two largest units. */
export function span(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${t("span.days", { n: days })} ${t("span.hours", { n: hours })}`;
  if (hours > 0) return `${t("span.hours", { n: hours })} ${t("span.minutes", { n: minutes })}`;
  if (minutes > 0) return `${t("span.minutes", { n: minutes })} ${t("span.seconds", { n: seconds % 60 })}`;
  return t("span.seconds", { n: seconds });
}

export const tenths = (value: number): number => Math.round(value * 10) / 10;

/** Names of shards in a list: "shards 0–3, 7, and the meta group". */
export function shardList(shards: readonly number[], meta: boolean): string {
  const [first, ...others] = rangesOf(shards);
  const named = first && (shards.length === 1 ? t("group.shard", { id: first }) : t("group.shards", { ids: first }));
  return list([...(named ? [named] : []), ...others, ...(meta ? [t("group.meta")] : [])]);
}

/** The reason of a refusal: in the language of the page where it is a common one, otherwise as the node has it. */
export function reasonOf(failure: unknown): string {
  if (!(failure instanceof ApiError)) return String(failure);
  const { code, message } = failure;
  // A node without tokens refuses a foreign name: that has nothing to do with the role of a token.
  if (code === "forbidden" && !message.includes("role operate")) return message;
  if (code === "timeout_unknown") return t("error.timeout");
  const key = `error.${code}`;
  return has(key) ? t(key) : message || code;
}
