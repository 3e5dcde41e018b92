// Connections for networks that let no WebSocket through: server-sent events, and long polling. To the client each is a
// WebSocket: its frames become requests, and answers, events and refusals become frames.

import type { Socket, SocketConstructor } from "./host.js";

export interface FallbackOptions {
  fetch?: Fetch;
}

/** Fields of a command, whichever it is. */
interface Command {
  t: string;
  id?: number;
  cid?: string;
  c?: string;
  to?: string;
  [field: string]: unknown;
}

interface Auth {
  token: string;
  device: string;
  instance: string;
  resume?: { sid: string; n: number };
}

type Frame = { t: string; [field: string]: unknown };

/** The node sends something at least this often. */
const SILENCE_MS = 40_000;
/** Receipts of an event stream go out together. */
const RECEIPTS_MS = 1_000;
/** A poll does not name them, and requests go one by one. */
const LIMITS = { sends_per_s: 1_000, burst: 1_000 };

/** Server-sent events. They are read by `fetch`, because an `EventSource` sends no token. */
export const sse = (options: FallbackOptions = {}): SocketConstructor => made(EventStream, options);

/** Long polling, for proxies that hold back what a stream sends. */
export const longPoll = (options: FallbackOptions = {}): SocketConstructor => made(LongPoll, options);

type Fetch = typeof globalThis.fetch;

function made(Kind: new (url: string, fetch: Fetch) => Socket, { fetch = (...request) => globalThis.fetch(...request) }: FallbackOptions) {
  // An arrow function is no constructor.
  return function connect(url: string) {
    return new Kind(url, fetch);
  } as unknown as SocketConstructor;
}

abstract class HttpSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  protected token = "";
  protected user = "";
  protected sid = "";
  /** The last event that the client has. */
  protected n = 0;
  protected over = false;
  protected heard: number = Date.now();
  protected readonly abort: AbortController = new AbortController();
  readonly #url: string;
  /** Changes of a conversation go one by one, because requests overtake each other. */
  readonly #lanes = new Map<unknown, Command[]>();

  constructor(
    url: string,
    private readonly fetch: Fetch,
  ) {
    this.#url = url.replace(/^ws/, "http").replace(/\/ws$/, "");
    const hello = { t: "hello", proto: 1, server: new URL(this.#url).host, hb_ms: 15_000, time: Date.now() };
    setTimeout(() => {
      this.onopen?.();
      this.frame(hello);
    });
  }

  send(text: string): void {
    const command = JSON.parse(text) as Command;
    if (command.t === "auth") void this.#authenticate(command as unknown as Auth);
    else if (command.t === "hb") {
      if (Date.now() - this.heard < SILENCE_MS) this.frame({ t: "hb", time: Date.now() });
    } else if (command.t === "watch" || command.t === "unwatch") this.frame({ t: "ok", id: command.id });
    else {
      const lane = command.cid === undefined ? command : (command.c ?? command.to ?? command);
      const waiting = this.#lanes.get(lane);
      if (waiting) waiting.push(command);
      else void this.#work(lane, [command]);
    }
  }

  close(): void {
    this.over = true;
    this.abort.abort();
  }

  /** Begins or resumes the session, and receives until it ends. */
  protected abstract listen(auth: Auth): Promise<void>;
  /** Takes a new token for the session. */
  protected abstract renew(auth: Auth): void;

  protected frame(frame: Frame): void {
    if (!this.over) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  protected ready(frame: object): void {
    this.frame({ limits: LIMITS, user: this.user, ...frame, t: "ready", id: 0 });
  }

  protected end(code: number, retry?: unknown): void {
    if (this.over) return;
    this.close();
    this.onclose?.({ code, reason: JSON.stringify({ retry_ms: retry }) });
  }

  protected request(method: string, path: string, body?: object, more?: Record<string, string>): Promise<Response> {
    const headers = { authorization: `Bearer ${this.token}`, "content-type": "application/json", ...more };
    return this.fetch(this.#url + path, { method, headers, signal: this.abort.signal, body: body ? JSON.stringify(body) : null });
  }

  /** Reads the refusal of a session: the same verdicts as those of a WebSocket. */
  protected async refused(response: Response): Promise<void> {
    const { code, detail, retry_ms } = await response.json();
    const { status } = response;
    if (status === 401 || status === 429) this.frame({ t: "err", id: 0, code, msg: detail, temp: status === 429, retry_ms });
    // Before the session begins the client tries again with the same connection.
    if (status === 429 && !this.sid) return;
    this.end(verdict(status, code), retry_ms);
  }

  async #authenticate(auth: Auth): Promise<void> {
    this.token = auth.token;
    if (this.sid) return this.renew(auth);
    await this.listen(auth).catch(() => this.end(1006));
  }

  async #work(lane: unknown, commands: Command[]): Promise<void> {
    this.#lanes.set(lane, commands);
    for (let command = commands[0]; command; command = commands[0]) {
      const answer = await this.#perform(command).catch(() => this.end(1006));
      commands.shift();
      if (!answer) continue;
      this.frame({ ...answer, id: command.id });
      // As on a WebSocket: nothing overtakes what was refused for a moment.
      if (answer.temp) for (const { id } of commands.splice(0)) this.frame({ ...answer, id, code: "busy" });
    }
    this.#lanes.delete(lane);
  }

  /** Returns the answer as a frame; nothing if none is due, or the outcome is not known. */
  async #perform(command: Command): Promise<Frame | undefined> {
    if (this.over) return undefined;
    const { t: _, id, c, ...body } = command;
    const [method, path, t] = route(command, this.user);
    const response = await this.request(method, path, method === "GET" ? undefined : body);
    const answer = response.status === 204 ? {} : await response.json();
    if (id === undefined) return undefined;
    if (response.ok) return { ...answer, t };
    const { code, detail: msg, retry_ms } = answer;
    if (response.status !== 401 && code) return { t: "err", code, http: response.status, temp: retry_ms !== undefined, msg, retry_ms };
    // Of the token, or not from a node but from something between: what was written stays in the outbox.
    this.end(verdict(response.status, code), retry_ms);
    return undefined;
  }
}

class EventStream extends HttpSocket {
  #stream = new AbortController();
  readonly #receipts = new Map<unknown, unknown>();

  override close(): void {
    super.close();
    this.#stream.abort();
  }

  protected override renew({ device, instance, token }: Auth): void {
    // The stream ends with the old token: another one goes on behind the last event.
    this.#stream.abort();
    const auth = { device, instance, token, resume: { sid: this.sid, n: this.n } };
    this.listen(auth).catch(() => this.end(1006));
  }

  protected override async listen({ device, instance, resume }: Auth): Promise<void> {
    const stream = new AbortController();
    this.#stream = stream;
    const last: Record<string, string> = resume ? { "last-event-id": `${resume.sid}:${resume.n}` } : {};
    const response = await this.request("GET", `/events${query({ device, instance })}`, undefined, last);
    if (stream.signal.aborted) return response.body?.cancel();
    if (!response.ok || !response.body) return this.refused(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    stream.signal.addEventListener("abort", () => void reader.cancel().catch(() => {}));
    let text = "";
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      if (stream.signal.aborted) return;
      this.heard = Date.now();
      const entries = (text + piece.value).split("\n\n");
      text = entries.pop() ?? "";
      for (const entry of entries) this.#entry(entry);
    }
    if (!stream.signal.aborted) this.end(1006);
  }

  #entry(entry: string): void {
    const data = /^data: (.*)$/m.exec(entry)?.[1];
    if (!data) return;
    const frame = JSON.parse(data);
    if (/^event: close$/m.test(entry)) return this.end(frame.code, frame.retry_ms);
    if (frame.t === "ready") {
      const renewed = this.sid !== "";
      this.user = frame.user;
      this.sid = frame.sid;
      this.n = frame.n;
      return renewed && !frame.resumed ? this.end(1006) : this.ready(frame);
    }
    this.n = frame.n;
    if (frame.t === "msg") this.#receive(frame);
    this.frame(frame);
  }

  /** A stream confirms nothing by itself. */
  #receive({ c, s, u }: Frame): void {
    if (u === this.user) return;
    if (this.#receipts.size === 0) {
      setTimeout(() => {
        for (const [c, s] of this.#receipts) this.request("PUT", `/conversations/${c}/delivered`, { s }).catch(() => {});
        this.#receipts.clear();
      }, RECEIPTS_MS);
    }
    this.#receipts.set(c, s);
  }
}

class LongPoll extends HttpSocket {
  protected override renew(): void {
    this.ready({ sid: this.sid, n: this.n, resumed: true });
  }

  protected override async listen({ device, instance, resume }: Auth): Promise<void> {
    const me = await this.request("GET", "/me");
    if (!me.ok) return this.refused(me);
    this.user = (await me.json()).u;
    let { sid, n: after } = resume ?? { sid: undefined, n: 0 };
    while (!this.over) {
      const begins = this.sid === "";
      const wait = begins ? 0 : undefined;
      const response = await this.request("GET", `/poll${query({ sid, after, wait, device, instance })}`);
      if (!response.ok) return this.refused(response);
      const answer = await response.json();
      this.heard = Date.now();
      // Another node may have gone on with the session, under another id.
      if (!begins && !answer.resumed) return this.end(1006);
      const { events, ...rest } = answer;
      if (this.sid !== answer.sid) this.ready({ ...rest, n: answer.resumed ? after : answer.n });
      this.sid = sid = answer.sid;
      for (const event of events) {
        this.n = event.n;
        this.frame(event);
      }
      this.n = after = answer.n;
    }
  }
}

function query(fields: Record<string, unknown>): string {
  const given = Object.entries(fields).filter(([, value]) => value != null);
  return given.length > 0 ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
}

/** The request that a command is (protocol, section 12), and the tag of its answer. */
function route(command: Command, me: string): [method: string, path: string, answer: string] {
  const { t, c, to, of, who, k, on, have, cursor, limit, before, after, group_invite: invite } = command;
  const id = (value: unknown) => encodeURIComponent(String(value));
  const at = `/conversations/${id(c)}`;
  const message = `${at}/messages/${of}`;
  const member = `${at}/members/${id(who ?? me)}`;
  const put = "PUT";
  const remove = "DELETE";
  switch (t) {
    case "send":
      return ["POST", c ? `${at}/messages` : `/users/${id(to)}/messages`, "ack"];
    case "edit":
      return [put, message, "ack"];
    case "del":
      return [remove, message, "ack"];
    case "react":
      return [on ? put : remove, `${message}/reactions/${id(k)}${query({ who: on ? undefined : who })}`, "ack"];
    case "create":
      return ["POST", "/conversations", "conv"];
    case "set":
      return ["PATCH", at, "ack"];
    case "invite":
    case "role":
    case "join":
      return [put, member, "ack"];
    case "kick":
    case "leave":
      return [remove, member, "ack"];
    case "ban":
    case "unban":
      return [t === "ban" ? put : remove, `${at}/bans/${id(who)}`, "ack"];
    case "block":
    case "unblock":
      return [t === "block" ? put : remove, `/users/${id(who)}/block`, "ok"];
    case "read":
      return [put, `${at}/read`, "ok"];
    case "typing":
      return ["POST", `${at}/typing`, "ok"];
    case "open":
      return ["GET", at + query({ have }), "conv"];
    case "hist":
      return ["GET", `${at}/events${query({ before, after, limit })}`, "hist"];
    case "members":
      return ["GET", `${at}/members${query({ cursor, limit })}`, "members"];
    case "list":
      return ["GET", `/conversations${query({ cursor, limit })}`, "inbox"];
    case "sync":
      return ["POST", "/sync", "delta"];
    default:
      return invite === undefined ? ["GET", "/me", "me"] : ["PATCH", "/me", "me"];
  }
}

/** The close code that says the same on a WebSocket. */
function verdict(status: number, code: unknown): number {
  const codes: Record<number, number> = { 401: 4401, 403: 4403, 409: 4409, 429: 4013, 503: 4013 };
  return code === "token_expired" ? 4201 : (codes[status] ?? 1006);
}
