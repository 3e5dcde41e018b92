// Names of users and conversations, as the page shows them.

import type { ConversationInfo, Profile, Rookery } from "@rookery/client";
import { useLive, useRookery } from "@rookery/client/react";
import { t } from "../i18n/index.js";

export interface Person {
  id: string;
  name: string;
  /** An image, where the profile has one that the page may show. */
  avatar?: string;
}

export function usePerson(u: string): Person {
  return person(u, useLive(useRookery().user(u)));
}

/** Returns the name of a user for texts that are made once. */
export function nameOf(chat: Rookery, u: string): string {
  return person(u, chat.user(u).get()).name;
}

function person(id: string, profile: Profile | undefined): Person {
  const avatar = profile?.avatar ?? "";
  // The policy of the page permits no other hosts.
  return { id, name: profile?.name || id, ...(/^(data:image\/|\/)/.test(avatar) ? { avatar } : {}) };
}

/** Returns the title of a conversation; that of a direct one is the other user's name. */
export function titleOf(chat: Rookery, me: string, info: ConversationInfo | undefined, key: string): string {
  const peer = info?.peer ?? (key.startsWith("to:") ? key.slice(3) : undefined);
  if (peer) return peer === me ? t("inbox.notes") : nameOf(chat, peer);
  if (info?.title) return info.title;
  return info?.kind === "channel" ? t("inbox.untitled.channel") : info?.kind === "group" ? t("inbox.untitled.group") : key;
}

/** Like `titleOf`, and follows the name of the other user. */
export function useTitle(me: string, info: ConversationInfo | undefined, key: string): string {
  const chat = useRookery();
  usePerson(info?.peer ?? (key.startsWith("to:") ? key.slice(3) : me));
  return titleOf(chat, me, info, key);
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
