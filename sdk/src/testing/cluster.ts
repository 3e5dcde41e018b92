// A fake cluster for tests: it follows the protocol's rules for sessions, logs, refusals and catching up, in memory and
// without a clock. The test moves every frame by hand, so it decides about order, delay and loss.

import { directId } from "../engine/ids.js";
import type { Profile } from "../engine/types.js";
import type {
  ClientCommand,
  ConversationSnapshot,
  DelCommand,
  EditCommand,
  ErrAnswer,
  LogEvent,
  MemberEvent,
  MsgEvent,
  ReactCommand,
  SendCommand,
  ServerAnswer,
} from "../wire/index.js";

type Unnumbered<T> = T extends unknown ? Omit<T, "n"> : never;

export interface FakeConversation {
  c: string;
  kind: "direct" | "group";
  members: string[];
  log: LogEvent[];
  read: Map<string, number>;
  delivered: Map<string, number>;
  /** First results by user and `cid`. */
  dedup: Map<string, LogEvent>;
}

interface FakeSession {
  sid: string;
  user: string;
  n: number;
  /** Events that the client has not confirmed. */
  buffer: { n: number; text: string }[];
  link?: FakeLink;
  /** Per conversation, the refused `cid` that must come again first. */
  holds: Map<string, string>;
}

export interface FakeOptions {
  /** Events that a session buffers for a resume. */
  buffer?: number;
  /** Events of one answer. */
  page?: number;
}

export class FakeCluster {
  readonly conversations: Map<string, FakeConversation> = new Map();
  private readonly sessions = new Map<string, FakeSession>();
  private ids = 0;
  time = 1_000;
  /** Decides about each send: a code refuses it. */
  refuse: (command: SendCommand) => ErrAnswer["code"] | undefined = () => undefined;
  /** Decides about each edit, removal and reaction: a code refuses it. */
  refuseChange: (command: EditCommand | DelCommand | ReactCommand) => ErrAnswer["code"] | undefined = () => undefined;
  /** Names and pictures of users, told with the inbox and with conversations. */
  readonly users: Map<string, Profile> = new Map();
  /** Tokens that are refused. */
  readonly revoked: Set<string> = new Set();

  constructor(readonly options: Required<FakeOptions> = { buffer: 32, page: 20 }) {}

  connect(): FakeLink {
    return new FakeLink(this);
  }

  /** All sessions are lost, as those of a killed node are. */
  loseSessions(): void {
    for (const session of this.sessions.values()) session.link?.close(1006);
    this.sessions.clear();
  }

  /** A user's sessions read too slowly: what waits is dropped, and they are told to run `sync`. */
  overflow(user: string): void {
    for (const session of this.sessions.values()) {
      if (session.user !== user) continue;
      session.buffer = [];
      session.link?.events.splice(0);
      // The number of the `resync` counts what was dropped.
      this.push(user, { t: "resync", why: "slow" });
    }
  }

  group(c: string, members: string[]): FakeConversation {
    const conversation: FakeConversation = {
      c,
      kind: c.startsWith("d_") ? "direct" : "group",
      members,
      log: [],
      read: new Map(),
      delivered: new Map(),
      dedup: new Map(),
    };
    this.conversations.set(c, conversation);
    for (const who of members) {
      const event: Unnumbered<MemberEvent> = {
        t: "member",
        c,
        s: conversation.log.length + 1,
        ts: this.time,
        u: members[0] ?? "",
        who,
        role: "member",
        why: "create",
      };
      conversation.log.push(event);
    }
    for (const u of members) {
      conversation.read.set(u, conversation.log.length);
      this.push(u, { t: "conv", ...this.snapshot(conversation, u), events: conversation.log });
    }
    return conversation;
  }

  /** Appends an event and pushes it to the sessions of all members. */
  append(conversation: FakeConversation, event: LogEvent): void {
    conversation.log.push(event);
    for (const u of conversation.members) this.push(u, event);
  }

  push(user: string, event: object): void {
    for (const session of this.sessions.values()) {
      if (session.user !== user) continue;
      session.n++;
      const text = JSON.stringify({ n: session.n, ...event });
      session.buffer.push({ n: session.n, text });
      if (session.buffer.length > this.options.buffer) session.buffer.shift();
      session.link?.push("events", text);
    }
  }

  snapshot(conversation: FakeConversation, user: string): ConversationSnapshot {
    const { c, kind, log, members } = conversation;
    const last = log[log.length - 1];
    const other = members.find((u) => u !== user) ?? user;
    const messages = log.filter((it) => it.t === "msg").length;
    return {
      c,
      kind,
      title: null,
      role: "member",
      last: { s: last?.s ?? 0, mn: messages, ts: last?.ts ?? 0 },
      unread: this.unread(conversation, user),
      mentions: 0,
      read: conversation.read.get(user) ?? 0,
      delivered: conversation.delivered.get(user) ?? 0,
      muted: false,
      pinned: false,
      members: members.length,
      ...(kind === "direct" ? { peer: { u: other, delivered: 0, read: conversation.read.get(other) ?? 0 } } : {}),
    };
  }

  unread(conversation: FakeConversation, user: string): number {
    const read = conversation.read.get(user) ?? 0;
    const deleted = new Set(conversation.log.map((it) => it.t === "del" && it.of));
    return conversation.log.filter((it) => it.t === "msg" && it.s > read && !deleted.has(it.s)).length;
  }

  /** Returns what the log has behind a position, as `sync` and `open` do. */
  behind(conversation: FakeConversation, have: number): { events: LogEvent[]; gap: boolean } {
    const events = conversation.log.filter((it) => it.s > have);
    if (events.length <= this.options.page) return { events, gap: have > conversation.log.length };
    return { events: events.slice(-this.options.page), gap: true };
  }

  begin(link: FakeLink, user: string, resume: { sid: string; n: number } | undefined): ServerAnswer & { t: "ready" } {
    const old = resume ? this.sessions.get(resume.sid) : undefined;
    const missing = old ? old.buffer.filter((it) => it.n > (resume?.n ?? 0)) : [];
    const whole =
      old !== undefined && old.user === user && resume !== undefined && missing.length === old.n - resume.n && resume.n <= old.n;
    const session: FakeSession = { sid: `s${++this.ids}`, user, n: 0, buffer: [], holds: new Map(), link };
    if (whole) {
      old.link?.close(1000);
      this.sessions.delete(old.sid);
      session.n = old.n;
      session.buffer = missing;
    }
    this.sessions.set(session.sid, session);
    link.session = session;
    const n = whole ? resume.n : 0;
    if (whole) for (const { text } of missing) link.push("events", text);
    const limits = { body_bytes: 16_384, sends_per_s: 20, burst: 60, ephemeral_per_s: 2 };
    return {
      t: "ready",
      user,
      sid: session.sid,
      resumed: whole,
      n,
      resume_ttl_ms: 90_000,
      limits,
      ...(whole ? {} : { why: "unknown" as const }),
    };
  }

  send(session: FakeSession, command: SendCommand): object {
    const conversation = this.target(session.user, command);
    if (!conversation?.members.includes(session.user)) return refusal("not_member", 403);
    const key = `${session.user} ${command.cid}`;
    const done = conversation.dedup.get(key);
    if (done) {
      if (session.holds.get(conversation.c) === command.cid) session.holds.delete(conversation.c);
      return { t: "ack", c: conversation.c, cid: command.cid, s: done.s, mn: (done as MsgEvent).mn, ts: done.ts, dup: true };
    }
    const held = session.holds.get(conversation.c);
    if (held !== undefined && held !== command.cid) return refusal("busy", 503);
    const code = this.refuse(command);
    if (code === "forbidden") return refusal(code, 403);
    if (code && code !== "timeout_unknown") {
      session.holds.set(conversation.c, command.cid);
      return refusal(code, 503);
    }
    session.holds.delete(conversation.c);
    const s = conversation.log.length + 1;
    const mn = conversation.log.filter((it) => it.t === "msg").length + 1;
    const event = { t: "msg" as const, c: conversation.c, s, mn, ts: ++this.time, u: session.user, cid: command.cid, b: command.b };
    conversation.dedup.set(key, event as unknown as MsgEvent);
    conversation.read.set(session.user, s);
    this.append(conversation, event);
    // Done, and the sender learns nothing.
    if (code) return refusal(code, 504);
    return { t: "ack", c: conversation.c, cid: command.cid, s, mn, ts: event.ts };
  }

  /** Takes a change of a message. */
  change(session: FakeSession, command: EditCommand | DelCommand | ReactCommand): object {
    const { c, cid, id: _, ...fields } = command;
    const conversation = this.conversations.get(c);
    if (!conversation?.members.includes(session.user)) return refusal("not_member", 403);
    const key = `${session.user} ${cid}`;
    const done = conversation.dedup.get(key);
    if (done) return { t: "ack", c, cid, s: done.s, ts: done.ts, dup: true };
    const code = this.refuseChange(command);
    if (code) return refusal(code, code === "unavailable" ? 503 : 403);
    const event = { ...fields, c, s: conversation.log.length + 1, ts: ++this.time, u: session.user } as unknown as LogEvent;
    conversation.dedup.set(key, event);
    this.append(conversation, event);
    return { t: "ack", c, cid, s: event.s, ts: event.ts };
  }

  private target(user: string, command: SendCommand): FakeConversation | undefined {
    if (command.c) return this.conversations.get(command.c);
    const to = command.to ?? user;
    const c = directId(user, to);
    return this.conversations.get(c) ?? this.group(c, user === to ? [user] : [user, to]);
  }
}

/** The server's end of one socket. */
export class FakeLink {
  /** Frames for the client. `hello` and `ready` come before everything else, events stay in order, answers may overtake. */
  control: string[] = [];
  events: string[] = [];
  answers: string[] = [];
  closed?: number;
  session?: FakeSession;
  /** Called when there is something to take. */
  changed: () => void = () => {};

  constructor(private readonly cluster: FakeCluster) {
    this.control.push(JSON.stringify({ t: "hello", proto: 1, server: "fake", hb_ms: 30_000, auth_ms: 10_000, max_frame: 65_536, time: 0 }));
  }

  /** Ends the connection; the session waits, unless the code ends it, too. */
  close(code: number): void {
    this.closed ??= code;
    if (this.session?.link === this) delete this.session.link;
    this.changed();
  }

  push(queue: "control" | "events" | "answers", text: string): void {
    this[queue].push(text);
    this.changed();
  }

  /** Takes a frame of the client. */
  receive(text: string): void {
    if (this.closed !== undefined) return;
    const command = JSON.parse(text) as ClientCommand;
    const answer = this.handle(command);
    if (!answer) return;
    const id = command.id === undefined ? {} : { id: command.id };
    this.push(command.t === "auth" ? "control" : "answers", JSON.stringify({ ...answer, ...id }));
  }

  private handle(command: ClientCommand): object | undefined {
    const { cluster, session } = this;
    if (command.t === "auth") return this.authenticate(command.token, command.resume as { sid: string; n: number } | undefined);
    if (!session) return refusal("unauthenticated", 401);
    switch (command.t) {
      case "hb":
        session.buffer = session.buffer.filter((it) => it.n > (command.n ?? 0));
        return { t: "hb", time: cluster.time };
      case "send":
        return cluster.send(session, command);
      case "edit":
      case "del":
      case "react":
        return cluster.change(session, command);
      case "list": {
        const mine = [...cluster.conversations.values()].filter((it) => it.members.includes(session.user));
        const items = mine.map((it) => ({
          ...cluster.snapshot(it, session.user),
          last: [...it.log].reverse().find((event) => event.t === "msg") ?? null,
        }));
        return { t: "inbox", items, next: null, users: Object.fromEntries(cluster.users) };
      }
      case "sync":
        return this.sync(command.have ?? [], session.user);
      case "open": {
        const conversation = this.member(command.c);
        if (!conversation) return refusal("not_member", 403);
        return {
          t: "conv",
          ...cluster.snapshot(conversation, session.user),
          ...(command.have != null ? cluster.behind(conversation, command.have) : {}),
        };
      }
      case "hist": {
        const conversation = this.member(command.c);
        if (!conversation) return refusal("not_member", 403);
        const { page } = cluster.options;
        const { log } = conversation;
        if (command.after != null) {
          const events = log.slice(command.after, command.after + page);
          return { t: "hist", c: command.c, events, more: command.after + page < log.length };
        }
        const end = (command.before ?? log.length + 1) - 1;
        return { t: "hist", c: command.c, events: log.slice(Math.max(0, end - page), end), more: end > page };
      }
      case "read": {
        const conversation = this.member(command.c);
        if (conversation) conversation.read.set(session.user, Math.max(command.s, conversation.read.get(session.user) ?? 0));
        return { t: "ok" };
      }
      case "members": {
        const conversation = this.member(command.c);
        if (!conversation) return refusal("not_member", 403);
        return { t: "members", items: conversation.members.map((u) => ({ u, role: "member", read: 0, delivered: 0 })), next: null };
      }
      case "typing":
        return undefined;
      default:
        return { t: "ok" };
    }
  }

  private authenticate(token: string, resume: { sid: string; n: number } | undefined): object | undefined {
    if (this.cluster.revoked.has(token)) {
      this.close(4201);
      return refusal("token_expired", 401);
    }
    return this.cluster.begin(this, token.split(":")[0] ?? "", resume);
  }

  private sync(have: [string, number][], user: string): object {
    const positions = new Map(have);
    const mine = [...this.cluster.conversations.values()].filter((it) => it.members.includes(user));
    mine.sort((a, b) => (a.c < b.c ? -1 : 1));
    const items = mine.map((it) => ({ c: it.c, ...this.cluster.behind(it, positions.get(it.c) ?? 0) }));
    return {
      t: "delta",
      as_of: mine.map((it) => [it.c, it.log.length]),
      items: items.filter((item) => item.events.length > 0 || item.gap),
      next: null,
    };
  }

  private member(c: string): FakeConversation | undefined {
    const conversation = this.cluster.conversations.get(c);
    return this.session && conversation?.members.includes(this.session.user) ? conversation : undefined;
  }
}

function refusal(code: ErrAnswer["code"], http: number): object {
  const temp = http >= 500 || http === 429;
  return { t: "err", code, http, temp, msg: code, ...(temp ? { retry_ms: 100 } : {}) };
}
