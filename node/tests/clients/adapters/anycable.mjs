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
    let isKnown = false;
    channel.on("connect", () => {
      // A channel that was closed counts its next connection as the first one.
      if (isKnown) this.again(c, this.options.extended);
      isKnown = true;
    });
    // As docs/actioncable.md describes: a cut before the confirmation closes a channel of the extended protocol.
    channel.on("close", (error) => {
      if (error?.name === "SubscriptionRejectedError") return;
      this.view.note(`${name} is closed: ${error?.message ?? "no error"}`);
      setTimeout(() => this.cable.subscribe(channel));
    });
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
