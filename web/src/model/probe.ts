// Looks at the frames of the connection, for the developer drawer. It changes nothing in them.

import { signal } from "@preact/signals";
import type { SocketConstructor } from "@rookery/client";

const KEPT = 40;
const LENGTH = 400;

export interface Frame {
  key: number;
  out: boolean;
  at: number;
  text: string;
}

export interface Facts {
  url?: string;
  node?: string;
  sid?: string;
  n?: number;
  /** Milliseconds from the last change to its acknowledgement. */
  latency?: number;
}

export class Probe {
  readonly frames = signal<readonly Frame[]>([]);
  readonly facts = signal<Facts>({});
  private readonly asked = new Map<number, number>();
  private count = 0;

  /** Returns the WebSocket for the client. */
  socket(): SocketConstructor {
    const probe = this;
    class ProbedSocket extends WebSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol);
        this.addEventListener("message", ({ data }) => probe.received(String(data), url));
      }

      override send(text: string): void {
        super.send(text);
        probe.sent(text);
      }
    }
    return ProbedSocket as unknown as SocketConstructor;
  }

  private sent(text: string): void {
    const frame = parse(text);
    if (typeof frame.id === "number" && frame.cid) this.asked.set(frame.id, performance.now());
    // A token is nobody else's business, on no screen.
    this.keep(true, frame.token ? JSON.stringify({ ...frame, token: "…" }) : text);
  }

  private received(text: string, url: string): void {
    const frame = parse(text);
    const facts = { ...this.facts.peek() };
    if (frame.t === "hello") Object.assign(facts, { url, node: frame.server, sid: undefined, n: undefined });
    if (frame.t === "ready") facts.sid = String(frame.sid);
    if (typeof frame.n === "number") facts.n = frame.n;
    const since = typeof frame.id === "number" ? this.asked.get(frame.id) : undefined;
    if (since !== undefined) {
      this.asked.delete(frame.id as number);
      if (frame.t === "ack" || frame.t === "conv") facts.latency = performance.now() - since;
    }
    this.facts.value = facts;
    this.keep(false, text);
  }

  private keep(out: boolean, text: string): void {
    const shown = text.length > LENGTH ? `${text.slice(0, LENGTH)}…` : text;
    const frame = { key: ++this.count, out, at: Date.now(), text: shown };
    this.frames.value = [...this.frames.peek().slice(1 - KEPT), frame];
  }
}

function parse(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
