// For back ends: the server API by a key, tokens for users, and the signatures of webhooks. Not for browsers: keys and secrets
// stay on the server. It needs WebCrypto and `fetch`, as Node 20 has them.

import { ulid } from "./engine/ids.js";
import { ChatError } from "./errors.js";
import type {
  Ack,
  ConversationKind,
  ConversationMember,
  ConversationSnapshot,
  CustomData,
  ErasedMessages,
  GroupInvite,
  ItemVerdict,
  Job,
  LogEvent,
  PresenceEventFields,
  Role,
  ServerConversation,
  ServerMember,
  ServerMessage,
  ServerProfile,
  ServerUser,
} from "./wire/index.js";

export { ChatError } from "./errors.js";
export type {
  Ack,
  ConversationMember,
  ConversationSnapshot,
  ErasedMessages,
  ItemVerdict,
  Job,
  ServerConversation,
  ServerMember,
  ServerMessage,
  ServerProfile,
  ServerUser,
} from "./wire/index.js";

/** Attempts of a request, at one node after the other. */
const ATTEMPTS = 5;
const PAUSE_MS = 200;
/** Unless `timeoutMs` is given. */
const TIMEOUT_MS = 30_000;
/** Longest pause between two looks at a job. */
const JOB_PAUSE_MS = 10_000;

// === the server API ===

export interface ServerApiOptions {
  /** Addresses of nodes, `https://…`; another one is asked after a failure. */
  urls: readonly string[];
  /** An API key, `rook_…`. */
  key: string;
  /** Longest wait for the answer of one attempt, in milliseconds; 30,000 unless given. */
  timeoutMs?: number;
  fetch?: typeof globalThis.fetch;
}

/** No node answered within `timeoutMs`, not even at the last attempt. A change may have been made. */
export class RequestTimeout extends Error {
  override name = "RequestTimeout";
}

/** A line of the export of a user; the documentation of the server API has the meaning of the fields. */
export type UserExportLine =
  | {
      t: "user";
      u: string;
      ts: number;
      name?: string;
      avatar?: string;
      data?: CustomData;
      group_invite: GroupInvite;
      deactivated: boolean;
      before: number;
      last_seen?: number;
    }
  | { t: "login"; login_id: string; created: number; expires: number }
  | { t: "device_token"; token_id: string; device: string; name?: string; created: number; expires: number }
  | { t: "device"; device: string; cursors: [c: string, s: number][] }
  | { t: "block"; u: string }
  | {
      t: "membership";
      c: string;
      role: Role | null;
      since: number;
      until?: number;
      read: number;
      delivered: number;
      muted: boolean;
      pinned: boolean;
      banned: boolean;
      data?: CustomData;
    }
  | Extract<LogEvent, { t: "msg" | "edit" }>
  | { t: "end"; lines: number; memberships: number; events: number };

/** An idempotency key: a repetition with the same one changes nothing. One is made up unless given. */
export interface Keyed {
  cid?: string;
}

/**
 * The server API. A request that is refused for a moment, or whose answer is lost, is sent again to the next node with the
 * same idempotency key. Final refusals are thrown as `ChatError`.
 */
export class ServerApi {
  #at = 0;

  constructor(private readonly options: ServerApiOptions) {}

  /** Sends a message as a user, or as `system`, to a conversation `c` or to a user. */
  send(message: ServerMessage & Keyed): Promise<Ack> {
    return this.#change("POST", "messages", message);
  }

  /** Creates a conversation for others. */
  create(conversation: ServerConversation & Keyed): Promise<ConversationSnapshot> {
    return this.#change("POST", "conversations", conversation);
  }

  /** Adds users and sets roles, at most 100. */
  putMembers(c: string, members: readonly ServerMember[]): Promise<ItemVerdict[]> {
    return this.#items("PUT", `conversations/${id(c)}/members`, { members });
  }

  /** Removes members, at most 100. */
  removeMembers(c: string, users: readonly string[]): Promise<ItemVerdict[]> {
    return this.#items("DELETE", `conversations/${id(c)}/members`, { members: users.map((u) => ({ u })) });
  }

  conversation(c: string): Promise<ConversationSnapshot> {
    return this.#request("GET", `conversations/${id(c)}`);
  }

  /** Reads all members, page by page. */
  async members(c: string): Promise<ConversationMember[]> {
    const all: ConversationMember[] = [];
    let cursor: string | null | undefined = "";
    do {
      const path: string = `conversations/${id(c)}/members?limit=100${cursor ? `&cursor=${id(cursor)}` : ""}`;
      const page: { items: ConversationMember[]; next?: string | null } = await this.#request("GET", path);
      all.push(...page.items);
      cursor = page.next;
    } while (cursor);
    return all;
  }

  /** Returns the presence of users, at most 500. A user whose shard does not answer is left out. */
  presence(users: readonly string[]): Promise<PresenceEventFields[]> {
    return this.#items("POST", "presence", { users });
  }

  /** Creates users or changes their names, pictures and data, at most 100. */
  putUsers(users: readonly ServerUser[]): Promise<ItemVerdict[]> {
    return this.#items("POST", "users", { users });
  }

  /** Returns profiles, at most 100. A user whose shard does not answer is left out. */
  users(ids: readonly string[]): Promise<ServerProfile[]> {
    return this.#items("GET", `users?ids=${ids.map(id).join(",")}`);
  }

  /** Closes the sessions of a user on all nodes. */
  disconnect(u: string): Promise<void> {
    return this.#request("POST", `users/${id(u)}/disconnect`);
  }

  /** Refuses the tokens of a user that were issued before a time, in seconds since 1970, and closes the sessions. */
  revoke(u: string, before: number): Promise<void> {
    return this.#request("POST", `users/${id(u)}/revoke`, { before });
  }

  /** Ends logins, sessions and sends of a user. History and memberships stay. */
  deactivate(u: string): Promise<void> {
    return this.#request("POST", `users/${id(u)}/deactivate`);
  }

  reactivate(u: string): Promise<void> {
    return this.#request("POST", `users/${id(u)}/reactivate`);
  }

  /**
   * Reads everything that is stored about a user, line by line, while the node sends it; the last line is `end`, with the
   * counts. An export that ends early is thrown as a temporary `ChatError` with the code `incomplete`: ask for it again.
   */
  async *export(u: string): AsyncGenerator<UserExportLine, void, undefined> {
    const { body, watch } = await this.#attempt("POST", `users/${id(u)}/export`, undefined, async (it, watch) => ({
      body: it.body,
      watch,
    }));
    let [lines, rest] = [0, ""];
    const decoder = new TextDecoder();
    const reader = body?.getReader();
    try {
      for (;;) {
        const piece = await watch.during(reader?.read() ?? Promise.reject(new TypeError("no body")));
        if (piece.done) break;
        const texts = (rest + decoder.decode(piece.value, { stream: true })).split("\n");
        rest = texts.pop() ?? "";
        for (const text of texts) {
          const line = JSON.parse(text) as UserExportLine;
          yield line;
          if (line.t === "end" && line.lines === lines) return;
          lines++;
        }
      }
    } catch (failure) {
      if (failure instanceof RequestTimeout) throw failure;
      throw incomplete(failure);
    } finally {
      // Also when the reader of the lines has had enough.
      watch.abort();
    }
    throw incomplete();
  }

  /**
   * Erases a user, and returns the job once it is done, as the proof. It cannot be undone. The job goes on when the wait is
   * ended by `signal`, and a repetition returns the same job.
   */
  async erase(u: string, messages: ErasedMessages, { signal }: { signal?: AbortSignal } = {}): Promise<Job> {
    const { job } = await this.#request<{ job: string }>("POST", `users/${id(u)}/erase`, { messages });
    for (let pause = PAUSE_MS; ; pause = Math.min(2 * pause, JOB_PAUSE_MS)) {
      signal?.throwIfAborted();
      const state = await this.job(job);
      if (state.state === "done") return state;
      await new Promise<void>((resolve) => {
        const go = (): void => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", go);
          resolve();
        };
        const timer = setTimeout(go, pause);
        signal?.addEventListener("abort", go);
      });
    }
  }

  /** Shows the erasure of a user, and what it has done. */
  job(job: string): Promise<Job> {
    return this.#request("GET", `jobs/${id(job)}`);
  }

  async #items<T>(method: string, path: string, body?: object): Promise<T[]> {
    return (await this.#request<{ items: T[] }>(method, path, body)).items;
  }

  #change<T>(method: string, path: string, fields: Keyed): Promise<T> {
    return this.#request(method, path, { cid: ulid(Date.now(), Math.random), ...fields });
  }

  #request<T>(method: string, path: string, body?: object): Promise<T> {
    return this.#attempt(method, path, body, (it, watch) => watch.during(it.status === 204 ? undefined : it.json()));
  }

  /** Sends a request until it is answered, and returns what `take` makes of the answer. */
  async #attempt<T>(
    method: string,
    path: string,
    body: object | undefined,
    take: (answer: Response, watch: Watch) => Promise<T>,
  ): Promise<T> {
    const { urls, key, timeoutMs = TIMEOUT_MS, fetch = globalThis.fetch } = this.options;
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    for (let attempt = 1; ; attempt++) {
      const base = urls[this.#at % urls.length] ?? "";
      const watch = new Watch(base, timeoutMs);
      let wait = PAUSE_MS * 2 ** attempt;
      let error: unknown;
      try {
        const { signal } = watch;
        const url = `${base.replace(/\/+$/, "")}/v1/server/${path}`;
        const answer = await watch.during(fetch(url, { method, headers, body: body ? JSON.stringify(body) : null, signal }));
        if (answer.ok) return await take(answer, watch);
        const { code = String(answer.status), detail = answer.statusText, retry_ms } = await watch.during(answer.json());
        error = new ChatError({ code, msg: detail, temp: retry_ms !== undefined });
        if (retry_ms === undefined) throw error;
        wait = retry_ms;
      } catch (failure) {
        if (failure === error) throw error;
        error = failure;
      }
      if (attempt === ATTEMPTS) throw error;
      this.#at++;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

/** Ends the attempt of a request if the node takes longer than `timeoutMs` for the head or for a piece of the answer. */
class Watch extends AbortController {
  constructor(
    private readonly url: string,
    private readonly timeoutMs: number,
  ) {
    super();
  }

  async during<T>(work: T | Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new RequestTimeout(`no answer of ${this.url} within ${this.timeoutMs} ms`));
        this.abort();
      }, this.timeoutMs);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

const incomplete = (cause?: unknown): ChatError => {
  const error = new ChatError({ code: "incomplete", msg: "the export ended early: ask for it again", temp: true });
  error.cause = cause;
  return error;
};

// === tokens ===

export interface TokenClaims {
  /** The user, `sub`. */
  user: string;
  /** Seconds until the end; 900 unless given. */
  expiresIn?: number;
  issuer?: string;
  audience?: string;
  /** Further claims. */
  claims?: Readonly<Record<string, unknown>>;
}

export type TokenKey =
  /** The secret of `auth.secret`, at least 32 bytes. */
  | { algorithm: "HS256"; secret: string }
  /** An Ed25519 key: PEM (PKCS #8), or of WebCrypto. `kid` names it among several in a JWKS. */
  | { algorithm: "EdDSA"; privateKey: string | CryptoKey; kid?: string };

/** Makes a token for a user: a JWT that a node with the same secret, or with the public key, accepts. */
export async function mintToken(key: TokenKey, claims: TokenClaims, now: number = Date.now()): Promise<string> {
  const { user, expiresIn = 900, issuer, audience } = claims;
  const iat = Math.floor(now / 1_000);
  const header = { alg: key.algorithm, typ: "JWT", kid: "kid" in key ? key.kid : undefined };
  const payload = { ...claims.claims, sub: user, iat, exp: iat + expiresIn, iss: issuer, aud: audience };
  const signed = [header, payload].map((part) => base64Url(utf8(JSON.stringify(part)))).join(".");
  return `${signed}.${base64Url(await signature(key, utf8(signed)))}`;
}

async function signature(key: TokenKey, data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const { subtle } = globalThis.crypto;
  if (key.algorithm === "HS256") {
    const secret = utf8(key.secret);
    if (secret.length < 32) throw new Error("the secret of HS256 has at least 32 bytes");
    return new Uint8Array(await subtle.sign("HMAC", await hmacKey(secret, "sign"), data));
  }
  const { privateKey: given } = key;
  const own = typeof given === "string" ? await subtle.importKey("pkcs8", pem(given), "Ed25519", false, ["sign"]) : given;
  return new Uint8Array(await subtle.sign("Ed25519", own, data));
}

// === webhooks ===

/** A message for users who are absent, or in a conversation with a webhook of its own. */
export interface MessageWebhook {
  type: "message";
  /** The same in every repetition. */
  id: string;
  c: string;
  kind: ConversationKind;
  title?: string | null;
  message: Extract<LogEvent, { t: "msg" }>;
  offline: { u: string; muted: boolean; mentioned: boolean }[];
  hooks: string[];
}

/** A one-time code that is to be passed on. */
export interface CodeWebhook {
  type: "login.code";
  to: string;
  channel: "sms" | "mail";
  code: string;
  expires_in: number;
}

export type Webhook = MessageWebhook | CodeWebhook;

/** The post is not from a node with this secret, or it is too old. */
export class WebhookError extends Error {
  override name = "WebhookError";
}

export interface WebhookRequest {
  /** `webhook.secret` or `login.webhook_secret` of the node. */
  secret: string;
  /** Those of the request: of `fetch`, or the object of Node. */
  headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The body as it came, before any parser. */
  body: string | Uint8Array;
  /** Seconds by which the clocks may differ; 300 unless given. */
  tolerance?: number;
}

/** Verifies the signature of a post, and returns its body. It throws a `WebhookError`. */
export async function verifyWebhook(
  { secret, headers, body, tolerance = 300 }: WebhookRequest,
  now: number = Date.now(),
): Promise<Webhook> {
  const header = (name: string): string => {
    const value = headers instanceof Headers ? headers.get(name) : (headers as Record<string, unknown>)[name];
    if (typeof value !== "string") throw new WebhookError(`the header ${name} is missing`);
    return value;
  };
  const [messageId, timestamp, signatures] = [header("webhook-id"), header("webhook-timestamp"), header("webhook-signature")];
  if (!(Math.abs(now / 1_000 - Number(timestamp)) <= tolerance)) throw new WebhookError("the post is too old, or the clocks differ");
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  const key = await hmacKey(bytes(secret.replace(/^whsec_/, "")), "verify");
  const signed = utf8(`${messageId}.${timestamp}.${text}`);
  for (const one of signatures.split(" ")) {
    const [version, value = ""] = one.split(",");
    // `verify` compares in constant time.
    if (version === "v1" && (await globalThis.crypto.subtle.verify("HMAC", key, decoded(value), signed)))
      return JSON.parse(text) as Webhook;
  }
  throw new WebhookError("the signature is of another secret or another body");
}

// === encodings ===

const id = (text: string) => encodeURIComponent(text);
const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
const bytes = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
const base64Url = (data: Uint8Array): string =>
  btoa(String.fromCharCode(...data))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");
const pem = (text: string) => bytes(text.replace(/-----[A-Z ]+-----|\s/g, ""));
const hmacKey = (secret: Uint8Array<ArrayBuffer>, usage: "sign" | "verify") =>
  globalThis.crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, [usage]);

/** A signature that is no base64 is of nobody. */
function decoded(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return bytes(base64);
  } catch {
    return new Uint8Array();
  }
}
