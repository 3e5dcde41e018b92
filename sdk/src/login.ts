// Login by a one-time code, and a `token` function that refreshes. A refresh token is replaced at each use, and the use of a
// replaced one ends the login, so tabs must take turns and share what they get.

import type { TokenReason } from "./engine/types.js";
import { Unauthorized } from "./errors.js";
import type { Store } from "./store.js";
import type { Locks } from "./tabs.js";
import type { CodeSent, LoggedIn } from "./wire/rest.js";

/** The server accepts a replaced token for so long, for the case of a lost answer. */
const REPEAT_MS = 30_000;
const PAUSE_MS = 2_000;
const KEY = "login";

export interface LoginOptions {
  /** Address of a node or of the proxy, `https://…`. */
  url: string;
  /** Place of the tokens, apart from the store of the client: `indexedDb({ name: "rookery-login" })`. */
  store: Store;
  fetch?: typeof globalThis.fetch;
  now?: () => number;
  locks?: Locks;
}

interface Tokens {
  access: string;
  refresh: string;
  /** End of the access token, by this device's clock. */
  end: number;
  user: string;
}

/** A refusal of the login, with the code of the protocol. */
export class LoginError extends Error {
  override name = "LoginError";

  constructor(
    readonly code: string,
    message: string,
    /** The same request may succeed later. */
    readonly temporary: boolean = false,
  ) {
    super(message);
  }
}

export class Login {
  /** The last token that was handed out: asked for another, this one will not do. */
  #given = "";
  #turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: LoginOptions) {}

  /** Has a code sent to a phone number or mail address. */
  async requestCode(to: string): Promise<CodeSent> {
    return (await this.#post("otp", { to })) as CodeSent;
  }

  /** Logs in with the code; returns the user. */
  async verify(challenge: string, code: string): Promise<string> {
    const answer = (await this.#post("otp/verify", { challenge, code })) as LoggedIn;
    await this.#save(answer);
    return answer.user;
  }

  /** Returns the logged-in user. */
  async user(): Promise<string | undefined> {
    return (await this.#load())?.user;
  }

  /** Ends the login here, or with `everywhere` all logins of the user. */
  readonly logout = async ({ everywhere = false }: { everywhere?: boolean } = {}): Promise<void> => {
    const tokens = await this.#load();
    await this.options.store.del(KEY);
    if (tokens) await this.#post("logout", { refresh_token: tokens.refresh, everywhere });
  };

  /** The `token` option of the client. */
  readonly token = ({ reason, signal }: { reason: TokenReason; signal?: AbortSignal }): Promise<string> =>
    this.#alone(async () => {
      const tokens = await this.#load();
      if (!tokens) throw new Unauthorized("not logged in");
      const now = this.#now();
      // Another tab may have refreshed while this one waited for its turn.
      const other = tokens.access !== this.#given && tokens.end > now;
      const access = other && (reason === "first" || this.#given !== "") ? tokens.access : await this.#refresh(tokens.refresh, signal);
      this.#given = access;
      return access;
    });

  /** Repeats the same refresh token while no answer comes, as long as the server takes it for one use. */
  async #refresh(token: string, signal?: AbortSignal): Promise<string> {
    const end = this.#now() + REPEAT_MS - PAUSE_MS;
    for (;;) {
      try {
        return await this.#save((await this.#post("refresh", { refresh_token: token }, signal)) as LoggedIn);
      } catch (error) {
        if (error instanceof LoginError && error.code === "unauthenticated") {
          await this.options.store.del(KEY);
          throw new Unauthorized("the login has ended");
        }
        if (error instanceof LoginError || signal?.aborted || this.#now() > end) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async #save({ access_token, refresh_token, expires_in, user }: LoggedIn): Promise<string> {
    // Stored before it is used: after a crash the old one would count as stolen.
    const tokens: Tokens = { access: access_token, refresh: refresh_token, end: this.#now() + expires_in * 1_000, user };
    await this.options.store.put(KEY, tokens);
    return access_token;
  }

  async #load(): Promise<Tokens | undefined> {
    return (await this.options.store.load(KEY)) as Tokens | undefined;
  }

  async #post(path: string, body: object, signal?: AbortSignal): Promise<unknown> {
    const { url, fetch = globalThis.fetch } = this.options;
    const answer = await fetch(`${url.replace(/\/+$/, "")}/v1/auth/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      ...(signal ? { signal } : {}),
    });
    const value = answer.status === 204 ? undefined : await answer.json();
    if (!answer.ok)
      throw new LoginError(value?.code ?? String(answer.status), value?.detail ?? answer.statusText, value?.retry_ms !== undefined);
    return value;
  }

  /** One refresh at a time, over all tabs where the browser has locks. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const locks = this.options.locks ?? (globalThis.navigator as { locks?: Locks } | undefined)?.locks;
    let result: T;
    const run = async () => {
      result = await work();
    };
    const turn = this.#turn
      .catch(() => {})
      .then(() => (locks ? locks.request("rookery:login", { signal: new AbortController().signal }, run) : run()))
      .then(() => result);
    this.#turn = turn;
    turn.catch(() => {});
    return turn;
  }

  #now(): number {
    return (this.options.now ?? Date.now)();
  }
}
