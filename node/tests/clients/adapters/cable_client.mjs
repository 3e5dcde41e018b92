// What the ActionCable clients have in common: one channel for each conversation, one for everything else, and answers
// that are told by their `id`.

import { Commands, inBackground, readOn } from "./commands.mjs";

export class CableClient {
  constructor({ address, user, device, view, ...options }) {
    Object.assign(this, { address, user, device, view, options });
    // Without an instance, a client that comes back again and again counts as several that share a device.
    this.url = `ws://${address}/cable?device=${device}&instance=${device}`;
    /** Channels by conversation; without one the inbox. */
    this.channels = new Map();
    this.commands = new Commands(view, (id, command, { channel, ...fields }) => {
      this.perform(this.channels.get(channel) ?? this.channels.get("inbox"), command, { id, ...fields });
    });
  }

  /** Token as this client transmits it; `:` is no character of a subprotocol. */
  token() {
    return this.options.header ? `dev:${this.user}` : `dev.${this.user}`;
  }

  /** Handles a message of a channel; `c`: its conversation. */
  message(c, message) {
    if (message.id !== undefined) this.commands.answer(message.id, message);
    else if (message.t === "resync") this.catchUp(c);
    // The inbox repeats what the channels of conversations bring.
    else if (c || !this.channels.has(message.c)) this.view.event(message);
  }

  /** Handles a channel that is connected again. `complete`: the server has sent what was missed. */
  again(c, complete) {
    this.commands.resend();
    if (c && !complete) this.catchUp(c);
  }

  /** Reads what was missed in a conversation. The inbox says nothing about any. */
  catchUp(c) {
    const hist = (after) => this.commands.run("hist", { channel: c, after, limit: 100 });
    if (c) inBackground(this.view, readOn(this.view, c, hist));
  }

  async connect() {
    await this.subscribe("inbox", { channel: "InboxChannel" });
  }

  async follow(c) {
    await this.subscribe(c, { channel: "ChatChannel", c });
  }

  send(c, cid, b) {
    return this.commands.run("send", { channel: c, c, cid, b });
  }

  read(c, s) {
    return this.commands.run("read", { channel: c, s });
  }

  typing(c, on) {
    this.perform(this.channels.get(c), "typing", { on });
  }

  async list() {
    return (await this.commands.run("list", { limit: 100 })).items.map((item) => item.c);
  }

  async history(c) {
    return (await this.commands.run("hist", { channel: c, after: 0, limit: 100 })).events;
  }
}
