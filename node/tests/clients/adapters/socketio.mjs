// The client of Socket.IO, over each of its transports.

import { io } from "socket.io-client";

import { Commands, inBackground, readOn } from "./commands.mjs";

export default class SocketIoClient {
  /** What the client recovers comes once; without a recovery it reads the log, next to live events. */
  static exact = false;

  constructor({ address, user, device, view, transports }) {
    Object.assign(this, { address, user, device, view, transports });
    this.followed = new Set();
    this.commands = new Commands(view, (id, command, fields) => this.transmit(id, command, fields));
  }

  connect() {
    const { device } = this;
    this.socket = io(`http://${this.address}`, {
      auth: { token: `dev:${this.user}`, device, instance: device },
      // Names the connection for the proxy of the tests.
      query: { device },
      transports: this.transports,
      reconnectionDelay: 100,
      reconnectionDelayMax: 1_000,
      forceNew: true,
    });
    this.socket.onAny((name, event) => {
      if (name === "resync") inBackground(this.view, this.catchUp());
      else if (event?.n !== undefined && name !== "ready") this.view.event(event);
    });
    return new Promise((resolve) => {
      this.socket.on("connect", () => {
        this.commands.resend();
        if (!this.socket.recovered) inBackground(this.view, this.catchUp());
        resolve();
      });
      // A node that is busy or has lost its majority refuses for now.
      this.socket.on("connect_error", ({ data }) => {
        if (data?.temp) setTimeout(() => this.socket.connect(), data.retry_ms);
      });
    });
  }

  /** Emits a command. Its acknowledgement is lost with the connection, and the command is sent again then. */
  transmit(id, command, fields) {
    if (this.socket?.connected) this.socket.emit(command, fields, (answer) => this.commands.answer(id, answer));
  }

  /** Reads what was missed. `sync` is answered as of a moment from which on the conversations are live. */
  async catchUp() {
    const have = [...this.followed].map((c) => [c, this.view.position(c)]);
    for (let cursor; cursor !== null; ) {
      const page = await this.commands.run("sync", { have, cursor });
      for (const { c, events, gap } of page.items) {
        if (!this.followed.has(c)) continue;
        if (gap) await this.readOn(c);
        events.forEach((event) => this.view.event(event));
      }
      cursor = page.next;
    }
  }

  readOn(c) {
    return readOn(this.view, c, (after) => this.commands.run("hist", { c, after, limit: 100 }));
  }

  async follow(c) {
    await this.commands.run("open", { c });
    this.followed.add(c);
  }

  send(c, cid, b) {
    return this.commands.run("send", { c, cid, b });
  }

  read(c, s) {
    return this.commands.run("read", { c, s });
  }

  typing(c, on) {
    this.socket.volatile.emit("typing", { c, on });
  }

  async list() {
    return (await this.commands.run("list", { limit: 100 })).items.map((item) => item.c);
  }

  async history(c) {
    return (await this.commands.run("hist", { c, after: 0, limit: 100 })).events;
  }

  close() {
    this.socket.disconnect();
  }
}
