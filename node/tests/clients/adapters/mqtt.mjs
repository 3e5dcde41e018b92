// The client mqtt.js, in both versions of the protocol, over TCP and over a WebSocket.

import mqtt from "mqtt";

import { Commands, Refusal, inBackground, readOn } from "./commands.mjs";

/** Topics of the commands that are about no conversation. */
const OWN = new Set(["create", "list", "sync", "watch", "unwatch", "block", "unblock"]);

export default class MqttClient {
  /** Messages that were not acknowledged before a cut come again. */
  static exact = false;

  constructor({ address, mqttAddress, user, device, view, tcp, version }) {
    Object.assign(this, { user, device, view, version });
    this.url = tcp ? `mqtt://${mqttAddress}` : `ws://${address}/mqtt?device=${device}`;
    this.commands = new Commands(view, (id, command, { c, ...fields }) => {
      const topic = OWN.has(command) ? `me/${command}` : `c/${c}/${command}`;
      // A refusal comes as an answer, too.
      this.client.publish(topic, JSON.stringify({ id, ...fields }), { qos: 1 }, () => {});
    });
    this.followed = new Set();
  }

  async connect() {
    const first = new Promise((resolve) => {
      this.onConnect = resolve;
    });
    this.client = mqtt.connect(this.url, {
      protocolVersion: this.version,
      clientId: this.device,
      username: "token",
      password: `dev:${this.user}`,
      clean: false,
      reconnectPeriod: 200,
      ...(this.version === 5 && { properties: { sessionExpiryInterval: 3600 } }),
    });
    this.client.on("error", () => {});
    this.client.on("message", (topic, payload) => this.message(topic, JSON.parse(payload)));
    this.client.on("connect", (connack) => this.connected(connack));
    await first;
    await this.subscribe("u/me/answers");
  }

  connected({ sessionPresent }) {
    this.onConnect();
    // The client subscribes anew by itself, and before this. Answers of the lowest quality may have been lost.
    this.commands.resend();
    if (!sessionPresent) this.followed.forEach((c) => inBackground(this.view, this.catchUp(c)));
  }

  message(topic, message) {
    if (topic === "u/me/answers") this.commands.answer(message.id, message);
    else this.view.event(message);
  }

  /** Reads what was missed in a conversation. */
  catchUp(c) {
    return readOn(this.view, c, (after) => this.commands.run("hist", { c, after, limit: 100 }));
  }

  subscribe(filter) {
    return new Promise((resolve, reject) => {
      this.client.subscribe(filter, { qos: 1 }, (error, granted) => {
        const refused = error ?? granted.find(({ qos }) => qos > 2);
        if (refused) reject(new Refusal({ msg: `the subscription was refused: ${refused.message ?? refused.qos}` }));
        else resolve();
      });
    });
  }

  async follow(c) {
    await this.subscribe(`c/${c}/events`);
    this.followed.add(c);
    // The conversation went on while the subscription was under way.
    await this.catchUp(c);
  }

  send(c, cid, b) {
    return this.commands.run("send", { c, cid, b });
  }

  read(c, s) {
    return this.commands.run("read", { c, s });
  }

  typing(c, on) {
    this.client.publish(`c/${c}/typing`, JSON.stringify({ on }), { qos: 0 });
  }

  async list() {
    return (await this.commands.run("list", { limit: 100 })).items.map((item) => item.c);
  }

  async history(c) {
    return (await this.commands.run("hist", { c, after: 0, limit: 100 })).events;
  }

  close() {
    this.client.end(true);
  }
}
