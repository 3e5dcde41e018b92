// The connection as a pure machine: dialing, authentication, resume, heartbeat, backoff. It decides by the close code, as
// section 5 of the protocol says, and leaves sockets and timers to the host.

import type { ByeEvent, ErrAnswer, HelloAnswer, ReadyAnswer } from "../wire/index.js";
import type { Effect, EventName, Phase, TokenReason } from "./types.js";

/** The command id of `auth`; other commands count upwards from 1. */
export const AUTH_ID = 0;
const DIAL_MS = 10_000;
/** A heartbeat without an answer for so long means a dead socket: with the 30 s between heartbeats, 40 s of silence. */
const DEAD_MS = 10_000;
/** After a wake-up the socket is doubtful, and the person is looking. */
const PROBE_MS = 5_000;
const STABLE_MS = 30_000;
const BACKOFF_MIN = 500;
const BACKOFF_MAX = 30_000;
/** Broken bytes end the session, too. */
const BROKEN = [1002, 1003, 1007, 1009];

export interface SessionState {
  sid?: string;
  n: number;
  device: string;
  instance: string;
}

type Stage = "idle" | "dialing" | "greeted" | "auth" | "ready";

export class Connection {
  phase: Phase = "offline";
  since = 0;
  why?: string;
  node?: string;
  retryAt: number = Infinity;
  stage: Stage = "idle";
  session: SessionState = { n: 0, device: "", instance: "" };
  /** Number of the present socket; frames of others are ignored. */
  conn = 0;
  #sockets = 0;
  #urlAt = 0;
  #attempt = 0;
  #token?: string;
  #tokenAsked = false;
  #reason: TokenReason = "first";
  /** A refused token was replaced once; a second refusal ends it. */
  #replaced = false;
  #running = false;
  #online = true;
  #liveSince = Infinity;
  #skew = 0;
  #hbMs = 30_000;
  #bye?: number;
  // Deadlines, in milliseconds of the host's clock.
  #dialBy = Infinity;
  #hbAt = Infinity;
  #deadBy = Infinity;
  #renewAt = Infinity;
  #authAt = Infinity;

  constructor(
    private readonly urls: readonly string[],
    private readonly random: () => number,
    private readonly out: (effect: Effect) => void,
  ) {}

  get ready(): boolean {
    return this.stage === "ready";
  }

  start(now: number): void {
    if (this.#running) return;
    this.#running = true;
    this.#replaced = false;
    this.#attempt = 0;
    this.#dial(now);
  }

  stop(now: number): void {
    this.#running = false;
    this.#hangUp();
    this.enter("offline", now);
  }

  /** The device is online again, or the page became visible. */
  wake(now: number): void {
    this.#online = true;
    if (this.retryAt < Infinity) this.retryAt = now;
    else if (this.ready) {
      this.#beat(now);
      this.#deadBy = Math.min(this.#deadBy, now + PROBE_MS);
    }
  }

  offline(now: number): void {
    this.#online = false;
    if (this.phase === "waiting") this.enter("offline", now);
  }

  gotToken(token: string, now: number): void {
    this.#tokenAsked = false;
    this.#token = token;
    if (this.ready) this.#authenticate(now);
    else if (this.#running && this.stage === "idle" && this.retryAt === Infinity && this.phase === "connecting") this.#open(now);
  }

  noToken(final: boolean, why: string, now: number): void {
    this.#tokenAsked = false;
    if (!this.#running) return;
    if (this.ready) {
      // The present token may hold for a while: the next attempt comes before the server closes.
      this.#renewAt = final ? Infinity : now + this.#backoff();
      return;
    }
    this.why = why;
    if (final) this.#refuse("refused", now);
    else this.#wait(now);
  }

  /** Any frame shows that the socket lives. */
  inbound(): void {
    this.#deadBy = Infinity;
  }

  hello(hello: HelloAnswer, now: number): void {
    if (this.stage !== "dialing") return;
    this.stage = "greeted";
    this.node = hello.server;
    this.#hbMs = hello.hb_ms;
    this.#skew = hello.time - now;
    this.#authenticate(now);
  }

  /** Returns true if a session begins or goes on, false if the token was renewed. */
  gotReady(ready: ReadyAnswer, now: number): boolean {
    const begins = this.stage !== "ready";
    this.stage = "ready";
    this.#dialBy = this.#authAt = Infinity;
    this.session.sid = ready.sid;
    this.#replaced = false;
    const end = expiry(this.#token);
    // A tenth of the life time, at least 5 s, before the end.
    const life = end - (now + this.#skew);
    this.#renewAt = end < Infinity ? now + Math.max(1_000, life - Math.max(5_000, life / 10)) : Infinity;
    if (begins) {
      this.session.n = ready.n;
      this.#liveSince = now;
      this.#hbAt = now + this.#hbMs;
      delete this.why;
    }
    return begins;
  }

  /** The refusal of `auth`. What the server closes for is decided by the close code that follows. */
  authRefused(err: ErrAnswer, now: number): void {
    if (err.code === "token_expired") this.#reason = "expired";
    if (err.code === "rate_limited") {
      this.#authAt = now + (err.retry_ms ?? 1_000);
      this.#dialBy = Infinity;
    }
    this.why = err.code;
  }

  gotBye(bye: ByeEvent): void {
    this.#bye = bye.retry_ms;
  }

  closed(code: number, reason: string, now: number): void {
    const announced = retryOf(reason) ?? this.#bye;
    if (now - this.#liveSince >= STABLE_MS) this.#attempt = 0;
    this.#reset();
    this.why = `closed ${code}`;
    if (!this.#running) return;
    if (code >= 4200 || BROKEN.includes(code)) delete this.session.sid;
    if (code >= 4400 && code < 4600) {
      if (code !== 4401 || this.#replaced) {
        if (code === 4403) this.#emit("revoked", { code });
        return this.#refuse(code === 4409 ? "displaced" : "refused", now);
      }
      this.#replaced = true;
      this.#renounce("refused");
    } else if (code === 4201) this.#renounce("expired");
    this.#wait(now, announced);
  }

  /** Does what is due. */
  tick(now: number): void {
    if (now >= this.retryAt) this.#dial(now);
    if (now >= this.#dialBy || now >= this.#deadBy) {
      this.#hangUp();
      this.closed(1006, "", now);
      this.why = "no answer";
    }
    if (!this.conn) return;
    if (now >= this.#authAt) this.#authenticate(now);
    if (now >= this.#hbAt) this.#beat(now);
    if (now >= this.#renewAt) {
      this.#renewAt = Infinity;
      this.#askToken("expiring");
    }
  }

  next(): number {
    return Math.min(this.retryAt, this.#dialBy, this.#hbAt, this.#deadBy, this.#renewAt, this.#authAt);
  }

  enter(phase: Phase, now: number): void {
    if (this.phase !== phase) this.since = now;
    this.phase = phase;
  }

  #dial(now: number): void {
    this.retryAt = Infinity;
    this.enter("connecting", now);
    if (this.#token) this.#open(now);
    else this.#askToken(this.#reason);
  }

  #open(now: number): void {
    this.stage = "dialing";
    this.conn = ++this.#sockets;
    this.#dialBy = now + DIAL_MS;
    const base = this.urls[this.#urlAt % this.urls.length] ?? "";
    this.out({ t: "connect", conn: this.conn, url: `${base.replace(/^http/, "ws").replace(/\/+$/, "")}/v1/ws` });
  }

  #authenticate(now: number): void {
    if (this.stage === "greeted") this.stage = "auth";
    this.#authAt = Infinity;
    const { sid, n, device, instance } = this.session;
    const resume = sid && !this.ready ? { sid, n } : undefined;
    this.#sendFrame({ t: "auth", id: AUTH_ID, token: this.#token, device, instance, resume });
    if (!this.ready) this.#dialBy = now + DIAL_MS;
  }

  #beat(now: number): void {
    this.#sendFrame({ t: "hb", n: this.session.n });
    this.#hbAt = now + this.#hbMs;
    if (this.#deadBy === Infinity) this.#deadBy = now + DEAD_MS;
  }

  #sendFrame(frame: object): void {
    this.out({ t: "send", conn: this.conn, text: JSON.stringify(frame) });
  }

  #askToken(reason: TokenReason): void {
    if (this.#tokenAsked) return;
    this.#tokenAsked = true;
    this.out({ t: "token", reason });
  }

  #renounce(reason: TokenReason): void {
    this.#token = undefined;
    this.#reason = reason;
  }

  #refuse(phase: "refused" | "displaced", now: number): void {
    this.#running = false;
    this.#reset();
    this.enter(phase, now);
    if (phase === "displaced") this.#emit("displaced", {});
  }

  #emit(name: EventName, data: unknown): void {
    this.out({ t: "emit", name, data });
  }

  #wait(now: number, announced?: number): void {
    this.#urlAt++;
    const delay = announced ?? this.#backoff();
    this.#attempt++;
    this.retryAt = now + delay;
    this.enter(this.#online ? "waiting" : "offline", now);
  }

  /** Full jitter between the bounds. */
  #backoff(): number {
    const cap = Math.min(BACKOFF_MAX, 2 * BACKOFF_MIN * 2 ** this.#attempt);
    return Math.round(BACKOFF_MIN + this.random() * (cap - BACKOFF_MIN));
  }

  #hangUp(): void {
    if (this.conn) this.out({ t: "close", conn: this.conn });
    this.#reset();
  }

  #reset(): void {
    this.stage = "idle";
    this.conn = 0;
    this.#bye = undefined;
    this.#liveSince = Infinity;
    this.retryAt = this.#dialBy = this.#hbAt = this.#deadBy = this.#renewAt = this.#authAt = Infinity;
  }
}

function retryOf(reason: string): number | undefined {
  try {
    const { retry_ms } = JSON.parse(reason);
    return typeof retry_ms === "number" ? retry_ms : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the `exp` of a JWT in milliseconds; other tokens do not say when they end. */
function expiry(token = ""): number {
  try {
    const payload = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const { exp } = JSON.parse(atob(payload));
    return typeof exp === "number" ? exp * 1_000 : Infinity;
  } catch {
    return Infinity;
  }
}
