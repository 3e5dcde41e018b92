// Who is signed in, and the client of that user.

import { signal } from "@preact/signals";
import { Rookery } from "@rookery/client";
import { indexedDb } from "@rookery/client/indexeddb";
import { Login } from "@rookery/client/login";
import { addresses, fetchAny, type PageConfig } from "./config.js";
import { Probe } from "./probe.js";
import { Requests } from "./requests.js";

export interface Session {
  user: string;
  chat: Rookery;
  probe: Probe;
  requests: Requests;
  nodes: readonly string[];
  /** Set if the user signed in with a code. */
  login?: Login;
}

/** The name in the own profile, as far as it is known. */
export const ownName = signal<string | undefined>(undefined);

/** Reads the own name; with `change`, after setting or removing it. */
export async function readName(chat: Rookery, change: { name?: string | null } = {}): Promise<void> {
  const { name } = (await chat.me(change)) as { name?: string | null };
  ownName.value = name ?? undefined;
}

/** The tab keeps a development user, so that another tab can be somebody else. */
const DEV_USER = "rookery.user";
const LAST_USER = "rookery.last-user";

export const session = signal<Session | null>(null);

export function makeLogin(config: PageConfig): Login {
  const nodes = addresses(config);
  const store = indexedDb({ name: "rookery-login" });
  return new Login({ url: "", store, fetch: (path, init) => fetchAny(nodes, String(path), init) });
}

/** Returns the session of a reload. */
export async function restore(config: PageConfig): Promise<Session | null> {
  const user = config.dev_tokens ? sessionStorage.getItem(DEV_USER) : null;
  if (user) return open(config, user);
  const login = makeLogin(config);
  const known = config.login ? await login.user().catch(() => undefined) : undefined;
  return known ? open(config, known, login) : null;
}

export function enterAs(config: PageConfig, user: string): void {
  sessionStorage.setItem(DEV_USER, user);
  localStorage.setItem(LAST_USER, user);
  session.value = open(config, user);
}

export function enterWith(config: PageConfig, user: string, login: Login): void {
  session.value = open(config, user, login);
}

export const lastUser = (): string => localStorage.getItem(LAST_USER) ?? "";

export async function signOut(): Promise<void> {
  const current = session.value;
  if (!current) return;
  sessionStorage.removeItem(DEV_USER);
  history.replaceState(null, "", location.pathname);
  session.value = null;
  await current.chat.logout();
  // Without a connection the login ends with its tokens, which are gone from this device.
  await current.login?.logout().catch(() => {});
}

function open(config: PageConfig, user: string, login?: Login): Session {
  ownName.value = undefined;
  const probe = new Probe();
  const nodes = addresses(config);
  const requests = new Requests(nodes, login ? login.token : async () => `dev:${user}`);
  const chat = new Rookery({
    urls: nodes,
    shuffle: false,
    token: requests.token,
    store: indexedDb({ name: `rookery-${user}` }),
    name: user,
    WebSocket: probe.socket(),
  });
  return { user, chat, probe, requests, nodes, ...(login ? { login } : {}) };
}
