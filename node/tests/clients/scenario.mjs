// One conversation through a cluster, as a stock client sees it. Two users have the client under test, through the proxy;
// a third one has the native client, so that each transport reads the other.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { Refusal } from "./adapters/commands.mjs";
import NativeClient from "./adapters/native.mjs";
import { Rest } from "./rest.mjs";
import { View } from "./view.mjs";
import { until, within } from "./wait.mjs";

const MESSAGES = 20;
/** Time for one step. Each wait in it has a shorter one, and says what it waited for. */
const STEP_MS = 240_000;

export class Scenario {
  constructor(cluster, proxy, Client, options) {
    Object.assign(this, { cluster, proxy, Client, options });
    // Users of their own for each run: the scenarios share a cluster.
    this.run = randomUUID().slice(0, 8);
    this.clients = [];
    this.sent = 0;
  }

  user(name) {
    return `${name}-${this.run}`;
  }

  async join(name, Client, follow = true) {
    const view = new View(`${name} (${Client.name})`);
    const device = `${name}-${this.run}-device`;
    const { address, mqttAddress } = this.proxy;
    const client = new Client({ address, mqttAddress, user: this.user(name), device, view, ...this.options });
    this.clients.push(client);
    if (follow) view.begin(this.c, await this.rest.lastSeq(this.c));
    await within(`${view.name} is connected`, client.connect());
    if (follow) await within(`${view.name} follows the conversation`, client.follow(this.c));
    return client;
  }

  async send(client) {
    const text = `message ${++this.sent}`;
    const ack = await client.send(this.c, randomUUID(), { text });
    assert.ok(ack.s > 0, "the ack has the place of the message");
    return ack.s;
  }

  async sendMany(client, count) {
    for (let i = 0; i < count; i += 1) await this.send(client);
  }

  /** Waits until the clients have seen all of the log, and compares their views with it. */
  async settle(...clients) {
    const log = await this.rest.log(this.c);
    const end = log[log.length - 1].s;
    for (const client of clients) {
      const state = () => `${client.view.name} at ${client.view.state(this.c)} of ${end}`;
      await until(state, () => client.view.position(this.c) >= end, 90_000);
      client.view.check(this.c, log, end, client.constructor.exact);
    }
    return log;
  }

  async play() {
    this.rest = new Rest(this.proxy.address, this.user("owner"));
    this.c = await this.rest.makeGroup(["alice", "bob", "carol"].map((name) => this.user(name)), "Lunch");
    await this.rest.send(this.c, "before anybody came");
    const alice = await this.join("alice", this.Client);
    const bob = await this.join("bob", this.Client);
    const carol = await this.join("carol", NativeClient);
    for (const step of [
      this.talk,
      this.retry,
      this.notice,
      this.refuse,
      this.cut,
      this.kill,
      this.kick,
    ]) {
      const begun = Date.now();
      await within(`the step ${step.name} ends`, step.call(this, alice, bob, carol), STEP_MS);
      console.log(`  ${step.name}: ${((Date.now() - begun) / 1_000).toFixed(1)} s`);
    }
  }

  /** Threads and messages are listed; everybody reads everybody; the order of each sender holds. */
  async talk(alice, bob, carol) {
    assert.ok((await alice.list()).includes(this.c), "the conversation is listed");
    const before = await bob.history(this.c);
    assert.deepEqual(before, await this.rest.log(this.c), "the messages are listed");
    await Promise.all([alice, bob, carol].map((client) => this.sendMany(client, MESSAGES)));
    const log = await this.settle(alice, bob, carol);
    for (const client of [alice, bob, carol]) {
      const texts = log.filter((event) => event.t === "msg" && event.u === client.user).map((event) => event.b.text);
      const numbers = texts.map((text) => Number(text.split(" ")[1]));
      assert.equal(numbers.length, MESSAGES);
      assert.deepEqual(numbers, numbers.toSorted((a, b) => a - b), `order of ${client.user}`);
    }
  }

  /** The same `cid` again is the same message. */
  async retry(alice, bob, carol) {
    const cid = randomUUID();
    const first = await alice.send(this.c, cid, { text: "once" });
    const second = await alice.send(this.c, cid, { text: "once" });
    assert.equal(second.s, first.s);
    const log = await this.settle(alice, bob, carol);
    assert.equal(log.filter((event) => event.cid === cid).length, 1);
  }

  /** Typing and cursors reach the others. */
  async notice(alice, bob, carol) {
    await until("bob sees alice type", () => {
      alice.typing(this.c, true);
      return bob.view.saw({ t: "typing", c: this.c, u: alice.user });
    });
    const end = bob.view.position(this.c);
    await bob.read(this.c, end);
    for (const client of [alice, carol]) {
      const seen = { t: "receipt", c: this.c, u: bob.user, read: end };
      await until(`${client.user} sees what bob has read`, () => client.view.saw(seen));
    }
  }

  /** No member, no subscription and no message: with the code of the protocol. */
  async refuse() {
    const dave = await this.join("dave", this.Client, false);
    await assert.rejects(within("dave's subscription is refused", dave.follow(this.c)), Refusal);
    await assert.rejects(dave.send(this.c, randomUUID(), { text: "let me in" }), { code: "not_member" });
    assert.equal(dave.view.others.filter((event) => event.c === this.c).length, 0);
    dave.close();
  }

  /** A connection that is cut misses nothing. */
  async cut(alice, bob, carol) {
    for (let round = 0; round < 3; round += 1) {
      this.proxy.cut(alice.device);
      this.proxy.cut(bob.device);
      await this.sendMany(carol, 5);
      await this.send(alice);
    }
    await this.settle(alice, bob, carol);
  }

  /** A node that is killed takes nothing along, whoever was connected to it; back again it serves as before. */
  async kill(alice, bob, carol) {
    const [{ node }] = await until("alice is connected", () => {
      const connections = this.proxy.connectionsOf(alice.device);
      return connections.length > 0 && connections;
    });
    const sending = Promise.all([alice, bob, carol].map((client) => this.sendMany(client, 2 * MESSAGES)));
    this.cluster.kill(node);
    await sending;
    await this.settle(alice, bob, carol);
    await this.cluster.restart(node);
    await Promise.all([alice, bob, carol].map((client) => this.sendMany(client, 3)));
    await this.settle(alice, bob, carol);
  }

  /** The removal is the last thing that a former member sees. */
  async kick(alice, bob, carol) {
    await this.rest.kick(this.c, bob.user);
    const log = await this.rest.log(this.c);
    const kicked = log.findLast((event) => event.t === "member" && event.who === bob.user);
    await until("bob sees the removal", () => bob.view.position(this.c) >= kicked.s);
    await this.sendMany(alice, 5);
    await this.settle(alice, carol);
    bob.view.check(this.c, log, kicked.s, bob.constructor.exact);
    assert.equal(bob.view.position(this.c), kicked.s, "nothing after the removal");
    await assert.rejects(bob.send(this.c, randomUUID(), { text: "still here?" }), { code: "not_member" });
  }

  /** What each client did last. */
  notes() {
    return this.clients.map(({ view }) => [view.name, ...view.notes].join("\n    "));
  }

  close() {
    this.clients.forEach((client) => client.close());
  }
}
