// Hooks for React 18 and later, and for Preact by `preact/compat`. Nothing is opened while rendering, so a server renders the
// initial state and connects to nothing.

import { createContext, createElement, type ReactNode, useContext, useEffect, useMemo, useSyncExternalStore } from "react";
import type { Rookery } from "./client.js";
import type { Conversation } from "./conversation.js";
import type { ConversationInfo, MessageWindow, OutgoingInfo, Presence, Profile, Status } from "./engine/types.js";
import type { Live } from "./live.js";

const Context = createContext<Rookery | null>(null);
/** Mounted providers per client. */
const mounted = new WeakMap<Rookery, number>();

/** Starts the client while it is mounted, and makes it available to the hooks. */
export function RookeryProvider({ client, children }: { client: Rookery; children?: ReactNode }): ReactNode {
  useEffect(() => {
    mounted.set(client, (mounted.get(client) ?? 0) + 1);
    client.start();
    return () => {
      mounted.set(client, (mounted.get(client) ?? 1) - 1);
      // Later: strict mode and fast refresh mount again at once, and the connection stays.
      setTimeout(() => {
        if (mounted.get(client) === 0) void client.stop();
      });
    };
  }, [client]);
  return createElement(Context.Provider, { value: client }, children);
}

/** Returns the client of the provider. */
export function useRookery(): Rookery {
  const client = useContext(Context);
  if (!client) throw new Error("a hook of @rookery/client/react outside a RookeryProvider");
  return client;
}

/** Returns the value of a `Live`, and renders again when it changes. */
export function useLive<T>(live: Live<T>): T {
  // The same functions while the value is the same: React would subscribe anew otherwise.
  const [subscribe, get] = useMemo(() => [(fn: () => void) => live.subscribe(fn), () => live.get()] as const, [live]);
  return useSyncExternalStore(subscribe, get, get);
}

export function useStatus(): Status {
  return useLive(useRookery().status);
}

export function useInbox(): readonly ConversationInfo[] {
  return useLive(useRookery().inbox);
}

/** Returns the conversation of an id, or of `to:<user>`, with its row. */
export function useConversation(key: string): [Conversation, ConversationInfo | undefined] {
  const conversation = useRookery().conversation(key);
  return [conversation, useLive(conversation.info)];
}

export function useMessages(key: string): MessageWindow {
  return useLive(useRookery().conversation(key).messages);
}

export function useOutgoing(): readonly OutgoingInfo[] {
  return useLive(useRookery().outbox);
}

/** Returns the users that type in a conversation. */
export function useTyping(key: string): readonly string[] {
  return useLive(useRookery().conversation(key).typists);
}

export function usePresence(users: readonly string[]): Readonly<Record<string, Presence | undefined>> {
  const client = useRookery();
  const names = users.join(" ");
  return useLive(useMemo(() => client.presence(names ? names.split(" ") : []), [client, names]));
}

/** Returns the name and the picture of a user, once the server has told them. */
export function useUser(u: string): Profile | undefined {
  return useLive(useRookery().user(u));
}

/** Returns the unread messages of a conversation, or of all of them. */
export function useUnread(key?: string): number {
  const client = useRookery();
  const all = useLive(client.inbox);
  const info = useLive(key === undefined ? NOTHING : client.conversation(key).info);
  return key === undefined ? all.reduce((total, row) => total + row.unread, 0) : (info?.unread ?? 0);
}

const NOTHING: Live<undefined> = { get: () => undefined, subscribe: () => () => {} };
