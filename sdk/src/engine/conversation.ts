// One conversation as this client knows it: position, row of the inbox, cursors, and the events while somebody looks.

import type { StoreOp } from "../store.js";
import type { ConversationListItem, ConversationMember, ConversationSnapshot, LogEvent, Role } from "../wire/index.js";
import { fold } from "./fold.js";
import type { ConversationLog } from "./log.js";
import type { ConversationInfo, LastMessage } from "./types.js";

/** Events per conversation in the store. */
export const STORED_EVENTS = 200;
/** Events that wait for an earlier one; more are fetched again. */
const PARKED_LIMIT = 1_024;
const TYPING_MS = 6_000;

/** Cursors of a member, and the role where the list of members was read. */
export interface MemberState {
  role?: Role;
  delivered: number;
  read: number;
}

/** The part of the state that is in the store, besides the events. */
export interface StoredRow {
  info: ConversationInfo;
  s: number;
  kept: number;
  countedTo: number;
  wantRead?: number;
  at: number;
}

export class ConversationState {
  info?: ConversationInfo;
  /** Position: every event up to it is applied. Negative while unknown. */
  s = -1;
  /** A position to synchronize from, of a conversation that was only listed. */
  hint = 0;
  /** Lowest position of the events in the store, which has everything from there to `s`. */
  kept = 1;
  parked: Map<number, LogEvent> = new Map();
  /** Present while a window is open. */
  log?: ConversationLog;
  /** The stored events are on their way. */
  loading = false;
  members: Map<string, MemberState> = new Map();
  membersRead = false;
  typing: Map<string, number> = new Map();
  /** A read position that the server has not confirmed. */
  wantRead?: number;
  /** Time of the last message, for the order of the inbox. */
  at = 0;
  /** The counts are those of an older read position, and only the server knows better. */
  uncertain = false;
  /** Position up to which `unread` counts. */
  #countedTo = 0;

  constructor(readonly c: string) {}

  static restore(c: string, { countedTo, ...row }: StoredRow): ConversationState {
    const state = Object.assign(new ConversationState(c), row);
    state.#countedTo = countedTo;
    return state;
  }

  stored(): StoredRow | undefined {
    if (!this.info || this.s < 0) return undefined;
    const { info, s, kept, wantRead, at } = this;
    const countedTo = this.#countedTo;
    return { info, s, kept, countedTo, wantRead, at };
  }

  /** Takes a row of the inbox. Counts of the row are older than events that were applied since. */
  fromList(item: ConversationListItem): void {
    const { last = null, stale = false } = item;
    if (stale && this.info) this.info = { ...this.info, stale };
    if (stale) return;
    const newer = this.info && this.#countedTo > (last?.s ?? 0);
    this.#describe(item);
    if (!newer) {
      this.#update({ last: lastMessage(last) });
      this.#counts(item, last?.s ?? 0);
    }
    this.hint = last?.s ?? 0;
    this.at = Math.max(this.at, last?.ts ?? 0);
    const read = this.info?.read ?? 0;
    if (read > (item.read ?? 0)) this.#recount(read);
  }

  /** Takes a `conv`, without its events. */
  fromSnapshot(conv: ConversationSnapshot): void {
    const old = this.info;
    this.#describe(conv);
    if (!old) this.at = conv.last.ts;
    if (this.#countedTo <= conv.last.s) this.#counts(conv, conv.last.s);
    const read = this.info?.read ?? 0;
    if (read > Math.min(conv.read, old?.read ?? read)) this.#recount(read);
  }

  /** Takes the counts of the server, which include everything up to a position. */
  #counts({ unread = 0, mentions = 0 }: ConversationSnapshot | ConversationListItem, upTo: number): void {
    this.#countedTo = upTo;
    this.uncertain = false;
    this.#update({ unread, mentions });
  }

  #describe(from: ConversationSnapshot | ConversationListItem): void {
    const { peer } = from;
    const old = this.info;
    if (peer) this.cursor(peer.u, peer.delivered, peer.read);
    this.info = {
      last: null,
      unread: 0,
      mentions: 0,
      ...old,
      c: this.c,
      kind: from.kind,
      title: from.title ?? null,
      role: from.role ?? null,
      peer: peer?.u ?? old?.peer,
      ...("history" in from ? { history: from.history, members: from.members } : {}),
      read: Math.max(from.read ?? 0, old?.read ?? 0),
      delivered: Math.max(from.delivered ?? 0, old?.delivered ?? 0),
      muted: from.muted ?? false,
      pinned: from.pinned ?? false,
      stale: false,
    } as ConversationInfo;
  }

  #update(change: Partial<ConversationInfo>): void {
    this.info = { ...(this.info as ConversationInfo), ...change };
  }

  /** Holds an event for later. Returns false if there is no room. */
  park(event: LogEvent): boolean {
    if (this.parked.size >= PARKED_LIMIT && !this.parked.has(event.s)) return false;
    this.parked.set(event.s, event);
    return true;
  }

  /** Takes out the parked event that is next, and drops those that are not needed any more. */
  unpark(): LogEvent | undefined {
    for (const s of this.parked.keys()) if (s <= this.s) this.parked.delete(s);
    const next = this.parked.get(this.s + 1);
    if (next) this.parked.delete(next.s);
    return next;
  }

  /** Applies the event that follows the position. */
  commit(event: LogEvent, me: string): void {
    this.s = event.s;
    this.log?.append(event);
    const info = this.info;
    if (!info) return;
    if (event.t === "msg") this.#counted(event, me);
    else if (event.t === "edit" || event.t === "del") this.#changed(event);
    else if (event.t === "member") this.#membership(event, me);
    else if (event.t === "meta") {
      this.#update({
        title: event.title == null ? info.title : event.title || null,
        history: event.history ?? info.history,
      });
    }
  }

  /** Begins anew at a position: what lies between is not known. */
  restart(events: readonly LogEvent[], position: number, me: string): void {
    this.s = position;
    this.kept = events[0]?.s ?? position + 1;
    this.loading = false;
    if (this.log) this.log.restart(events, position);
    const counted = this.#countedTo;
    for (const event of events) {
      if (event.t === "msg" && event.s > counted) this.#counted(event, me);
    }
  }

  /** Moves the user's own read position. Returns true if the counts have to be asked for. */
  read(s: number): boolean {
    if (!this.info || s <= this.info.read) return false;
    this.#update({ read: s, delivered: Math.max(s, this.info.delivered) });
    return this.#recount(s);
  }

  cursor(u: string, delivered: number, read: number): void {
    const old = this.members.get(u);
    this.members.set(u, {
      ...old,
      delivered: Math.max(delivered, read, old?.delivered ?? 0),
      read: Math.max(read, old?.read ?? 0),
    });
  }

  fromMembers(items: readonly ConversationMember[], first: boolean): void {
    if (first) {
      for (const member of this.members.values()) delete member.role;
    }
    for (const item of items) {
      this.cursor(item.u, item.delivered ?? 0, item.read ?? 0);
      (this.members.get(item.u) as MemberState).role = item.role;
    }
  }

  type(u: string, on: boolean, now: number): void {
    if (on) this.typing.set(u, now + TYPING_MS);
    else this.typing.delete(u);
  }

  #counted(event: LogEvent & { t: "msg" }, me: string): void {
    const { s, u } = event;
    const info = this.info as ConversationInfo;
    this.at = Math.max(this.at, event.ts);
    this.typing.delete(u);
    this.#update({ last: lastMessage(event) });
    if (s > this.#countedTo) {
      this.#countedTo = s;
      // A send moves the sender's own cursors to it, on the server too.
      if (u === me) this.#update({ read: Math.max(info.read, s), delivered: Math.max(info.delivered, s), unread: 0, mentions: 0 });
      else if (s > info.read && !event.deleted) {
        this.#update({ unread: info.unread + 1, mentions: info.mentions + (event.mentions?.includes(me) ? 1 : 0) });
      }
    }
    if (u !== me) this.cursor(u, s, s);
  }

  #changed(event: LogEvent & { t: "edit" | "del" }): void {
    const { last, read, unread } = this.info as ConversationInfo;
    const deleted = event.t === "del";
    if (last?.s === event.of) {
      this.#update({ last: { ...last, b: deleted ? {} : event.b, deleted: last.deleted || deleted || !!event.deleted } });
    }
    if (deleted && event.s > this.#countedTo && event.of > read && unread > 0) this.#update({ unread: unread - 1 });
  }

  #membership({ who, role, why }: LogEvent & { t: "member" }, me: string): void {
    const { members } = this.info as ConversationInfo;
    const step = ["join", "invite"].includes(why) ? 1 : ["leave", "kick"].includes(why) ? -1 : 0;
    if (members != null) this.#update({ members: members + step });
    if (who === me) this.#update({ role: role ?? null });
    if (!role) this.members.delete(who);
    else if (this.membersRead) {
      this.cursor(who, 0, 0);
      (this.members.get(who) as MemberState).role = role;
    }
  }

  /** Counts what is unread above a new read position. Returns true if the events at hand do not suffice. */
  #recount(read: number): boolean {
    if (read >= this.#countedTo) {
      this.uncertain = false;
      this.#update({ unread: 0, mentions: 0 });
      return false;
    }
    const live = this.log?.live;
    this.uncertain = !live || live.lo > read + 1;
    if (!live || this.uncertain) return true;
    // Counted by the events at hand: those of the inbox that are not applied yet count when they are.
    this.#countedTo = this.s;
    const unread = fold(live.events).filter((message) => message.s > read && !message.deleted).length;
    this.#update({ unread, mentions: Math.min((this.info as ConversationInfo).mentions, unread) });
    return false;
  }
}

function lastMessage(event: LogEvent | null | undefined): LastMessage | null {
  if (event?.t !== "msg") return null;
  return { s: event.s, ts: event.ts, u: event.u, b: event.b, deleted: event.deleted ?? false };
}

export function eventKey(c: string, s: number): string {
  return `ev/${c}/${String(s).padStart(16, "0")}`;
}

/** The write of an event. */
export function stored(event: LogEvent): StoreOp {
  return { put: eventKey(event.c, event.s), value: event };
}
