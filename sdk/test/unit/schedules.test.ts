// Random schedules over the fake cluster: lost connections, late and overtaking answers, refusals, reloads, tabs that take
// over, lost sessions, expired tokens. SCHEDULES sets their number, SEED repeats one.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fold } from "../../src/engine/fold.js";
import type { ChangeCommand, Call as EngineCall } from "../../src/engine/types.js";
import type { ConversationInfo } from "../../src/index.js";
import { FakeCluster, type FakeLink, SteppedClient } from "../../src/testing/index.js";

type Call = Extract<EngineCall, { op: "change" }>;

const C = "g_1";
const runs = Number(process.env.SCHEDULES ?? 600);
const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };

/** Actions with their weights: mostly frames that move, now and then something that goes wrong. */
const ACTIONS = {
  receive: 30,
  transmit: 20,
  write: 12,
  token: 8,
  tick: 4,
  rest: 4,
  send: 14,
  other: 6,
  read: 2,
  change: 4,
  drop: 4,
  lose: 2,
  reload: 3,
  takeover: 3,
  refuse: 2,
  revoke: 1,
  duplicate: 1,
  overflow: 3,
  wake: 8,
};
type Action = keyof typeof ACTIONS;

const action = fc.record({
  kind: fc.oneof(...Object.entries(ACTIONS).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind as Action) }))),
  who: fc.nat(1),
  pick: fc.double({ min: 0, max: 0.999, noNaN: true }),
});

function random(seedOf: number): () => number {
  let state = seedOf | 1;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 0x80000000;
  };
}

class World {
  readonly cluster = new FakeCluster({ buffer: 8, page: 6 });
  readonly conversation = this.cluster.group(C, ["alice", "bob"]);
  readonly clients = ["alice", "bob"].map(
    (user, i) => new SteppedClient(this.cluster, user, random(i + 7), ["status", "inbox", "outbox", `m/${C}`]),
  );
  /** Bodies per client, in the order in which they were given to it and reached its disk. */
  readonly wanted: string[][] = [[], []];
  /** Changes of each client's tabs that are not settled for them. */
  private readonly calls: Call[][] = [[], []];
  private refusals = 0;
  private bodies = 0;
  /** An answer that each connection has had. */
  private readonly answers = new Map<FakeLink, string>();

  constructor() {
    for (const client of this.clients) client.settle();
    this.cluster.refuseChange = () => (this.refusals > 0 && this.refusals-- % 2 === 0 ? "forbidden" : undefined);
    this.cluster.refuse = () => {
      if (this.refusals <= 0) return undefined;
      this.refusals--;
      return this.refusals % 3 === 0 ? "timeout_unknown" : "unavailable";
    };
  }

  act(kind: Action, who: number, pick: number): void {
    const client = this.clients[who] as SteppedClient;
    switch (kind) {
      case "send": {
        const text = `${client.user} ${++this.bodies}`;
        this.change(who, { t: "send", b: { text } });
        (this.wanted[who] as string[]).push(text);
        break;
      }
      case "receive":
        if (client.link?.answers[0]) this.answers.set(client.link, client.link.answers[0]);
        client.receive(pick);
        break;
      case "duplicate": {
        // An answer that comes twice changes nothing.
        const answer = client.link && this.answers.get(client.link);
        if (answer) client.link?.answers.push(answer);
        break;
      }
      case "transmit":
        client.transmit();
        break;
      case "rest":
        client.settle();
        break;
      case "overflow":
        // Events that the sessions of this user will not get.
        this.act("other", who, pick);
        this.cluster.overflow(client.user);
        break;
      case "write":
        client.write();
        break;
      case "token":
        client.giveToken();
        break;
      case "tick":
        client.advance();
        break;
      case "drop":
        client.drop();
        break;
      case "lose":
        this.cluster.loseSessions();
        break;
      case "reload":
        // What had not reached the disk is lost with the page; it was never promised.
        this.forgetUnstored(who);
        this.calls[who] = [];
        client.reload();
        break;
      case "takeover": {
        // The tab with the connection is gone. Another one goes on, and repeats what is open to it.
        client.reload();
        const settled = new Set(client.settled.map((it) => it.cid));
        for (const call of this.calls[who] ?? []) {
          if (!settled.has(call.cid)) client.input({ t: "call", tab: "u", id: 0, call });
        }
        break;
      }
      case "refuse":
        this.refusals += 1 + Math.floor(pick * 4);
        break;
      case "revoke":
        this.cluster.revoked.add(client.token);
        client.link?.close(4201);
        break;
      case "other":
        this.cluster.append(this.conversation, {
          t: "meta",
          c: C,
          s: this.conversation.log.length + 1,
          ts: ++this.cluster.time,
          u: "bob",
          title: `T${this.bodies}`,
        });
        break;
      case "read":
        client.input({ t: "call", tab: "t", id: 0, call: { op: "read", key: C } });
        break;
      case "change": {
        const messages = this.conversation.log.filter((it) => it.t === "msg");
        const { s: of } = messages[Math.floor(pick * messages.length)] ?? {};
        if (of === undefined) break;
        const round = Math.floor(pick * 1_000) % 4;
        if (round === 0) this.change(who, { t: "edit", of, b: { text: `edited ${++this.bodies}` } });
        else this.change(who, { t: "react", of, k: "+1", on: round > 1 });
        break;
      }
      case "wake":
        client.input({ t: "wake" });
        break;
    }
  }

  /** Everything works from now on: the machines must come to rest. */
  quiesce(): void {
    this.refusals = 0;
    for (let round = 0; round < 400; round++) {
      for (const client of this.clients) client.settle();
      if (this.clients.every((client) => client.status.phase === "live" && client.outbox.length === 0 && !this.open(client))) return;
      for (const client of this.clients) client.advance();
    }
    throw new Error(`stuck: ${JSON.stringify(this.clients.map((it) => [it.status, it.outbox]))}`);
  }

  private change(who: number, command: ChangeCommand): void {
    const client = this.clients[who] as SteppedClient;
    const cid = client.change(C, command);
    this.calls[who]?.push({ op: "change", key: C, cid, at: client.now, command });
  }

  private open(client: SteppedClient): boolean {
    return client.engine.conversations.get(C)?.s !== this.conversation.log.length;
  }

  private forgetUnstored(who: number): void {
    const client = this.clients[who] as SteppedClient;
    const onDisk = new Set([...client.disk.keys()].filter((key) => key.startsWith("out/")).map((key) => key.split("/")[2]));
    const unstored = client.engine.outbox.items.filter((item) => !onDisk.has(item.cid) && item.state !== "sent" && !item.stored);
    const gone = new Set(unstored.map((item) => (item.command.t === "send" ? item.command.b.text : "")));
    this.wanted[who] = (this.wanted[who] as string[]).filter((text) => !gone.has(text));
  }
}

test("every schedule delivers each message once and in order", { timeout: 900_000 }, () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 20, maxLength: 250, size: "max" }), (actions) => {
      const world = new World();
      for (const { kind, who, pick } of actions) world.act(kind, who, pick);
      world.quiesce();
      const { log } = world.conversation;
      world.clients.forEach((client, who) => {
        const sent = log.filter((it) => it.t === "msg" && it.u === client.user).map((it) => (it.t === "msg" ? it.b.text : ""));
        assert.deepEqual(sent, world.wanted[who], "each body once, in the order of the sender");
        const state = client.engine.conversations.get(C);
        const live = state?.log?.live;
        assert.ok(live, "an open window");
        assert.equal(live.hi, log.length);
        assert.deepEqual(live.events, log.slice(live.lo - 1), "the window is the log, from its first event on");
        const window = client.window(C);
        assert.deepEqual(
          window?.messages.map((it) => [it.b, it.reactions]),
          fold(live.events).map((it) => [it.b, it.reactions]),
          "every change of a message is the log's",
        );
        const shown = window?.messages.map((it) => it.s);
        assert.deepEqual(
          shown,
          live.events.filter((it) => it.t === "msg").map((it) => it.s),
          "no message twice, none missing",
        );
        const row = (client.views.get("inbox") as ConversationInfo[]).find((it) => it.c === C);
        assert.equal(row?.unread, world.cluster.unread(world.conversation, client.user), "the unread count is the server's");
      });
    }),
    { numRuns: runs, includeErrorInReport: true, ...seed },
  );
});
