// The client of Rails, @rails/actioncable, with the global objects of a browser that it needs.

import ActionCable from "@rails/actioncable";
import WebSocket from "ws";

import { CableClient } from "./cable_client.mjs";
import { Refusal } from "./commands.mjs";

globalThis.addEventListener ??= () => {};
globalThis.removeEventListener ??= () => {};
ActionCable.logger.enabled = false;

/** Headers by URL: the client hands none to its WebSocket. */
const headers = new Map();

ActionCable.adapters.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { headers: headers.get(url) });
  }
};

export default class RailsClient extends CableClient {
  /** The base protocol knows no offsets: what a cut connection missed comes by `hist`, next to live events. */
  static exact = false;

  constructor(parameters) {
    super(parameters);
    this.consumer = ActionCable.createConsumer(this.url);
    if (this.options.header) headers.set(this.url, { Authorization: `Bearer ${this.token()}` });
    else this.consumer.addSubProtocol(`anycable-token.${this.token()}`);
  }

  subscribe(key, params) {
    const c = key === "inbox" ? undefined : key;
    return new Promise((resolve, reject) => {
      let confirmed = false;
      const channel = this.consumer.subscriptions.create(params, {
        connected: () => {
          this.channels.set(key, channel);
          if (confirmed) this.again(c, false);
          confirmed = true;
          resolve();
        },
        received: (message) => this.message(c, message),
        rejected: () => {
          this.channels.delete(key);
          reject(new Refusal({ msg: "the subscription was rejected" }));
        },
      });
    });
  }

  perform(channel, action, fields) {
    channel.perform(action, fields);
  }

  close() {
    this.consumer.disconnect();
  }
}
