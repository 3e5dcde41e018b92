// The native protocol, over the package `ws`.

import WebSocket from "ws";

import { Commands, inBackground, readOn } from "./commands.mjs";

export default class NativeClient {
  /** After a node was killed, `sync` and live events overlap. */
  static exact = false;

  constructor({ address, user, device, view }) {
    Object.assign(this, { address, user, device, view });
    this.instance = `${device}-instance`;
    this.commands = new Commands(view, (id, t, fields) => this.socket?.send(JSON.stringify({ t, id, ...fields })));
    this.n = 0;
    this.closed = false;
  }

  connect() {
    return new Promise((resolve) => {
      this.onReady = resolve;
      this.open();
    });
  }

  open() {
    const socket = new WebSocket(`ws://${this.address}/v1/ws?device=${this.device}`, "chat.v1.json");
    socket.on("open", () => {
      const resume = this.sid && { sid: this.sid, n: this.n };
      const { device, instance } = this;
      socket.send(JSON.stringify({ t: "auth", id: 0, token: `dev:${this.user}`, device, instance, resume }));
    });
    socket.on("message", (data) => this.frame(socket, JSON.parse(data)));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.socket = undefined;
      if (!this.closed) setTimeout(() => this.open(), 200);
    });
  }

  frame(socket, frame) {
    if (frame.n !== undefined && frame.t !== "ready") {
      this.n = frame.n;
      if (frame.t === "resync") inBackground(this.view, this.catchUp());
      else this.view.event(frame);
    } else if (frame.t === "ready") {
      this.sid = frame.sid;
      this.n = frame.n;
      this.socket = socket;
      this.commands.resend();
      if (!frame.resumed) inBackground(this.view, this.catchUp());
      this.onReady();
    } else if (frame.t !== "hello") {
      this.commands.answer(frame.id, frame);
    }
  }

  /** Reads what was missed. `sync` is answered as of a moment from which on the conversations are live. */
  async catchUp() {
    const have = [...this.view.logs.keys()].map((c) => [c, this.view.position(c)]);
    for (let cursor; cursor !== null; ) {
      const page = await this.commands.run("sync", { have, cursor });
      for (const { c, events, gap } of page.items) {
        if (!this.view.logs.has(c)) continue;
        if (gap) await this.readOn(c);
        events.forEach((event) => this.view.event(event));
      }
      cursor = page.next;
    }
  }

  readOn(c) {
    return readOn(this.view, c, (after) => this.commands.run("hist", { c, after, limit: 100 }));
  }

  follow(c) {
    return this.commands.run("open", { c });
  }

  send(c, cid, b) {
    return this.commands.run("send", { c, cid, b });
  }

  read(c, s) {
    return this.commands.run("read", { c, s });
  }

  typing(c, on) {
    this.socket?.send(JSON.stringify({ t: "typing", c, on }));
  }

  async list() {
    return (await this.commands.run("list", { limit: 100 })).items.map((item) => item.c);
  }

  async history(c) {
    return (await this.commands.run("hist", { c, after: 0, limit: 100 })).events;
  }

  close() {
    this.closed = true;
    this.socket?.close();
  }
}
