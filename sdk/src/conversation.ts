// A conversation in the hands of the application.

import type { Rookery } from "./client.js";
import type { ChangeCommand, ConversationInfo, MessageWindow } from "./engine/types.js";
import type { Live } from "./live.js";
import type { Outgoing } from "./outgoing.js";
import type { Body, ConversationMember, HistoryVisibility, Role } from "./wire/index.js";

const EMPTY: MessageWindow = { messages: [], loaded: false, atStart: false, atEnd: true, gaps: [] };
const NOBODY: readonly string[] = [];

/** Messages around one position; the window grows by pages and, at its end, by live messages. */
export interface LiveWindow extends Live<MessageWindow> {
  /** Reads the page before the window. */
  older(): Promise<void>;
  /** Reads the page behind the window, unless it is at the end. */
  newer(): Promise<void>;
  /** Returns another window, around the message at `s`. */
  around(s: number): LiveWindow;
}

export class Conversation {
  readonly info: Live<ConversationInfo | undefined>;
  readonly messages: LiveWindow;
  /** Users that type now. */
  readonly typists: Live<readonly string[]>;

  constructor(
    private readonly chat: Rookery,
    /** The id, or `to:<user>` for a direct conversation. */
    readonly key: string,
  ) {
    this.info = chat.view<ConversationInfo | undefined>(`c/${key}`, undefined);
    this.typists = chat.view<readonly string[]>(`y/${key}`, NOBODY);
    this.messages = this.#window();
  }

  /** Sends a message. It is in `messages` at once, and goes out as soon as it can. */
  send(b: Body, options: { replyTo?: number; mentions?: string[] } = {}): Outgoing {
    return this.#change({ t: "send", b, reply_to: options.replyTo, mentions: options.mentions });
  }

  /** Replaces the body of the message at `s`. */
  edit(s: number, b: Body, options: { mentions?: string[] } = {}): Outgoing {
    return this.#change({ t: "edit", of: s, b, ...options });
  }

  /** Deletes the message at `s` for everybody. */
  remove(s: number): Outgoing {
    return this.#change({ t: "del", of: s });
  }

  /** Sets or takes back a reaction; with `who`, another user's is taken back. */
  react(s: number, k: string, on = true, who?: string): Outgoing {
    return this.#change({ t: "react", of: s, k, on, who });
  }

  /** Marks everything up to `s` as read; without `s`, everything. */
  read(s?: number): void {
    void this.chat.call({ op: "read", key: this.key, s });
  }

  /** Call it at each key stroke; the client spaces the announcements. */
  typing(on = true): void {
    this.chat.post({ op: "typing", key: this.key, on });
  }

  invite(who: string): Outgoing {
    return this.#change({ t: "invite", who });
  }

  kick(who: string): Outgoing {
    return this.#change({ t: "kick", who });
  }

  ban(who: string): Outgoing {
    return this.#change({ t: "ban", who });
  }

  unban(who: string): Outgoing {
    return this.#change({ t: "unban", who });
  }

  role(who: string, role: Role): Outgoing {
    return this.#change({ t: "role", who, role });
  }

  join(): Outgoing {
    return this.#change({ t: "join" });
  }

  leave(): Outgoing {
    return this.#change({ t: "leave" });
  }

  set(change: { title?: string; history?: HistoryVisibility; muted?: boolean; pinned?: boolean }): Outgoing {
    return this.#change({ t: "set", ...change });
  }

  /** Reads all members, with roles and, in conversations of up to 256, cursors. */
  members(): Promise<ConversationMember[]> {
    return this.chat.members(this.key);
  }

  #change(command: ChangeCommand): Outgoing {
    return this.chat.change(this.key, command);
  }

  #window(at?: number): LiveWindow {
    const { chat, key } = this;
    const view = chat.view<MessageWindow>(at === undefined ? `m/${key}` : `m/${key}/${at}`, EMPTY);
    const page = async (newer: boolean) => {
      await chat.call<void>({ op: "page", key, newer, at });
      // Nothing to read from yet: a loop over the pages must not keep the connection from coming.
      if (!view.get().loaded) await new Promise((resolve) => setTimeout(resolve, 50));
    };
    return {
      get: () => view.get(),
      subscribe: (fn) => view.subscribe(fn),
      older: () => page(false),
      newer: () => page(true),
      around: (s) => this.#window(s),
    };
  }
}
