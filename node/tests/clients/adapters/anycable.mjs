// @anycable/core, with the base protocol and with the extended one.

import { createCable } from "@anycable/core";
import WebSocket from "ws";

import { CableClient } from "./cable_client.mjs";
import { Refusal } from "./commands.mjs";

class AnyCableClient extends CableClient {
  constructor(parameters) {
    super(parameters);
    this.cable = createCable(this.url, {
      protocol: this.options.protocol,
      websocketImplementation: WebSocket,
      websocketAuthStrategy: this.options.header ? "header" : "sub-protocol",
      auth: { token: this.token() },
      reconnectStrategy: () => 300,
      logLevel: "error",
    });
  }

  async subscribe(key, { channel: name, ...params }) {
    const c = key === "inbox" ? undefined : key;
    const channel = this.cable.subscribeTo(name, params);
    channel.on("message", (message) => this.message(c, message));
    channel.on("connect", ({ reconnect }) => reconnect && this.again(c, this.options.extended));
    // The server could not send what was missed.
    channel.on("info", ({ type }) => c && type === "history_not_found" && this.catchUp(c));
    try {
      await channel.ensureSubscribed();
      this.channels.set(key, channel);
    } catch (error) {
      throw new Refusal({ msg: error.message });
    }
  }

  perform(channel, action, fields) {
    // Without a connection the command waits for the next one.
    channel.perform(action, fields).catch(() => {});
  }

  close() {
    this.cable.disconnect();
  }
}

/** The extended protocol: the server joins history and live events. */
export class ExtendedClient extends AnyCableClient {
  static exact = true;

  constructor(parameters) {
    super({ ...parameters, protocol: "actioncable-v1-ext-json", extended: true });
  }
}

/** The base protocol. */
export class BaseClient extends AnyCableClient {
  static exact = false;

  constructor(parameters) {
    super({ ...parameters, protocol: "actioncable-v1-json" });
  }
}
