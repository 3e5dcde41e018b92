// What clients send and show, recorded for the oracle of the load harness: `rookery-loadtest judge` (docs/loadtest.md).

import { execFile } from "node:child_process";
import { closeSync, openSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { binary } from "../../scripts/node.js";
import type { ChatError, Conversation, Message, Rookery } from "../../src/index.js";
import type { HistoryResponse, LogEvent } from "../../src/wire/index.js";

/** The file, in the order in which this process saw things happen. */
export class Recording {
  private readonly file: number;
  private lines = 0;

  constructor(readonly path: string) {
    this.file = openSync(path, "w");
  }

  write(line: { t: string; [field: string]: unknown }): void {
    writeSync(this.file, `${JSON.stringify(line)}\n`);
    this.lines++;
  }

  /** Ends the file with the number of its lines, so that one that was cut short is seen. */
  end(): void {
    writeSync(this.file, `${JSON.stringify({ t: "end", lines: this.lines })}\n`);
    closeSync(this.file);
  }
}

/** Positions that a client lacks after a long absence, until they are read. */
interface Gap {
  c: string;
  from: number;
  to: number;
}

/** One member of a conversation: every message that it sends, and every one that its window shows. */
export class Recorded {
  sent = 0;
  readonly settled: Promise<unknown>[] = [];
  private readonly shown = new Set<string>();
  private readonly reached = new Map<number, string>();
  private readonly gaps: Gap[] = [];

  constructor(
    private readonly recording: Recording,
    readonly user: string,
    readonly chat: Rookery,
    readonly room: Conversation,
    /** Position of the last event before the first message. */
    begin: number,
    /** False for a member whose unread messages remain. */
    readonly reads: boolean,
  ) {
    this.write("joined", { s: begin });
    chat.on("gap", (gap: Gap) => {
      if (gap.c !== room.key) return;
      this.gaps.push(gap);
      this.write("gap", { from: gap.from, to: gap.to });
    });
    room.messages.subscribe(() => this.look());
  }

  say(): void {
    const b = { text: `${this.user} ${this.sent++}` };
    const outgoing = this.room.send(b);
    const { cid } = outgoing;
    this.write("sent", { cid, b });
    const acked = ({ s }: { s?: number }) => this.write("acked", { cid, s });
    const refused = ({ code }: ChatError) => this.write("refused", { cid, code });
    this.settled.push(outgoing.settled.then(acked, refused));
  }

  /** The messages of the window that are in the log. Those before them in the outbox have no position yet. */
  messages(): readonly Message[] {
    return this.room.messages.get().messages.filter((message) => message.changed > 0);
  }

  /** Records the window as a whole, and the row of the inbox. */
  finish(): void {
    this.write("log", { events: this.messages().map(event) });
    const row = this.chat.inbox.get().find((it) => it.c === this.room.key);
    const { read, delivered, unread } = row ?? {};
    this.write("row", { last: row?.last?.s, read, delivered, unread });
  }

  /** Records what the window shows for the first time. A message that it shows twice at a time is recorded twice. */
  private look(): void {
    const here = new Set<string>();
    for (const message of this.messages()) {
      const key = `${message.u}/${message.cid}/${message.s}`;
      if (!this.shown.has(key) || here.has(key)) this.write(this.inGap(message) ? "page" : "applied", { event: event(message) });
      this.shown.add(key);
      here.add(key);
      this.reach(message);
    }
    if (this.reads) this.room.read();
  }

  /** The client has told that it goes on behind this message, which came with an older page. */
  private inGap({ s = 0 }: Message): boolean {
    return this.gaps.some(({ from, to }) => from <= s && s <= to);
  }

  private reach({ s = 0, reach }: Message): void {
    if (!reach) return;
    const { delivered, read } = reach;
    const now = `${delivered} ${read}`;
    if (this.reached.get(s) !== now) this.write("reach", { s, delivered, read });
    this.reached.set(s, now);
  }

  private write(t: string, fields: object): void {
    this.recording.write({ t, u: this.user, c: this.room.key, ...fields });
  }
}

/** A message of a window, as the event that it was. */
function event({ s, mn, ts, u, cid, b }: Message): object {
  return { t: "msg", s, mn, ts, u, cid, b };
}

/** Reads the log of a conversation at one node, past all clients. */
export async function readLog(url: string, user: string, c: string): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  for (;;) {
    const after = events.at(-1)?.s ?? 0;
    const answer = await fetch(`${url}/v1/conversations/${c}/events?after=${after}&limit=200`, {
      headers: { authorization: `Bearer dev:${user}` },
    });
    if (!answer.ok) throw new Error(`the log of ${c} at ${url}: ${answer.status}`);
    const page = (await answer.json()) as HistoryResponse;
    events.push(...page.events);
    if (!page.more) return events;
  }
}

/** Has the oracle judge a recording; returns its verdict. */
export async function judge(path: string): Promise<string> {
  const harness = join(dirname(binary()), "rookery-loadtest");
  try {
    return (await promisify(execFile)(harness, ["judge", path], { maxBuffer: 64 << 20 })).stdout;
  } catch (error) {
    const { stdout = "", stderr = "", message } = error as { stdout?: string; stderr?: string; message: string };
    throw new Error(`${message}\n${stdout}${stderr}\nthe recording is ${path}`);
  }
}
