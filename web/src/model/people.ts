// Names of users and conversations, as the page shows them.

import type { ConversationInfo, Profile, Rookery } from "@rookery/client";
import { useLive, useRookery } from "@rookery/client/react";
import { t } from "../i18n/index.js";
import { pictureOf } from "./avatar.js";

export interface Person {
  id: string;
  name: string;
  /** Address of a picture, where the profile has one that the page may load. */
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
  const avatar = profile?.avatar ? pictureOf(profile.avatar, location.origin) : undefined;
  return { id, name: profile?.name || id, ...(avatar ? { avatar } : {}) };
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
