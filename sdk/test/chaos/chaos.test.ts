// Many clients in one process, three real nodes, and faults all the time: nodes that are killed or drained and come back,
// lines between clients and nodes that are cut. SECONDS and CLIENTS set the size, SEED repeats the order of the faults.

import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ClusterNode, eventually, ready, restart, stop, withCluster } from "../../scripts/node.js";
import type { Conversation, MessageWindow, Rookery } from "../../src/index.js";
import { Line } from "../integration/line.js";
import { client, live, texts, until } from "../integration/support.js";

const SECONDS = Number(process.env.SECONDS ?? 120);
const CLIENTS = Number(process.env.CLIENTS ?? 50);
const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const GROUP = 5;
const EVERY_MS = 2_000;
const PAUSE_MS = 3_000;

/** What one client sends and sees. */
class Member {
  sent = 0;
  readonly settled: Promise<unknown>[] = [];
  /** Furthest positions of the others, by own message. */
  private readonly reached = new Map<string, { delivered: number; read: number }>();
  readonly backward: string[] = [];

  constructor(
    readonly user: string,
    readonly chat: Rookery,
    readonly room: Conversation,
  ) {
    room.messages.subscribe(() => this.look(room.messages.get()));
  }

  say(): void {
    this.settled.push(this.room.send({ text: `${this.user} ${this.sent++}` }).settled);
  }

  private look({ messages }: MessageWindow): void {
    for (const { cid, reach } of messages) {
      if (!reach) continue;
      const before = this.reached.get(cid);
      if (before && (reach.delivered < before.delivered || reach.read < before.read)) this.backward.push(cid);
      this.reached.set(cid, { delivered: reach.delivered, read: reach.read });
    }
    this.room.read();
  }
}

/** Faults in an order that the seed decides, one at a time: two of three nodes always work. */
class Faults {
  private readonly started: ChildProcess[] = [];
  readonly done = { killed: 0, drained: 0, cut: 0 };
  // Spread, because neighbouring seeds begin alike otherwise.
  private state = Math.imul(SEED, 2_654_435_761) | 1;

  constructor(
    private readonly nodes: ClusterNode[],
    private readonly lines: Line[],
  ) {}

  async next(): Promise<void> {
    const at = this.pick(this.nodes.length);
    const node = this.nodes[at] as ClusterNode;
    const kind = this.pick(3);
    if (kind === 2) {
      this.done.cut++;
      this.lines[at]?.offline(true);
      await sleep(PAUSE_MS);
      this.lines[at]?.offline(false);
      return;
    }
    this.done[kind === 0 ? "killed" : "drained"]++;
    process.kill(node.pid, kind === 0 ? "SIGKILL" : "SIGTERM");
    await eventually(() => !alive(node.pid), "the end of a node");
    const again = restart(node);
    this.started.push(again);
    node.pid = again.pid ?? 0;
    await eventually(() => ready(node.url), "a node that is back");
  }

  /** Ends the nodes that were started here; the others belong to the cluster. */
  async stop(): Promise<void> {
    for (const child of this.started) await stop(child);
  }

  private pick(count: number): number {
    this.state = (Math.imul(this.state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.floor(((this.state & 0x7fffffff) / 0x80000000) * count);
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("under faults nothing is lost, doubled or reordered, and receipts only move forward", {
  timeout: (SECONDS + 600) * 1_000,
}, async () => {
  console.log(`# SEED=${SEED} CLIENTS=${CLIENTS} SECONDS=${SECONDS}`);
  await withCluster(async (nodes) => {
    const lines = nodes.map((node) => new Line(node.url));
    const urls = await Promise.all(lines.map((line) => line.open()));
    const users = Array.from({ length: CLIENTS }, (_, i) => `u${i}`);
    const chats = users.map((user) => client(urls, user));
    await live(...chats);
    const members: Member[] = [];
    for (let i = 0; i < CLIENTS; i += GROUP) {
      const others = users.slice(i + 1, i + GROUP);
      const group = await (chats[i] as Rookery).create({ kind: "group", members: others });
      for (const [at, chat] of chats.slice(i, i + GROUP).entries()) {
        await until(chat.inbox, (rows) => rows.length === 1, "the group");
        members.push(new Member(users[i + at] as string, chat, chat.conversation(group.key)));
      }
    }

    const faults = new Faults(nodes, lines);
    const end = Date.now() + SECONDS * 1_000;
    const talking = members.map(async (member, i) => {
      await sleep((i * EVERY_MS) / CLIENTS);
      for (; Date.now() < end; await sleep(EVERY_MS)) member.say();
    });
    while (Date.now() < end) {
      await faults.next();
      await sleep(PAUSE_MS);
    }
    await Promise.all(talking);
    await Promise.all(members.flatMap((member) => member.settled));

    for (let i = 0; i < CLIENTS; i += GROUP) {
      const group = members.slice(i, i + GROUP);
      const total = group.reduce((sum, member) => sum + member.sent, 0);
      const logs: string[][] = [];
      for (const { room } of group) {
        while (!room.messages.get().atStart) await room.messages.older();
        await until(room.messages, (it) => it.messages.length >= total && it.messages.every((one) => one.s !== undefined), "all messages");
        logs.push(texts(room.messages.get().messages));
      }
      for (const log of logs) assert.deepEqual(log, logs[0], "every client shows the same");
      for (const { user, sent, backward } of group) {
        const own = logs[0]?.filter((text) => text.startsWith(`${user} `));
        assert.deepEqual(
          own,
          Array.from({ length: sent }, (_, n) => `${user} ${n}`),
          "each message once, in the order of its sender",
        );
        assert.deepEqual(backward, [], "receipts only move forward");
      }
    }
    const sent = members.reduce((sum, member) => sum + member.sent, 0);
    console.log(`# ${sent} messages, ${JSON.stringify(faults.done)}: 0 lost, 0 doubled, 0 reordered`);
    for (const chat of chats) await chat.stop();
    for (const line of lines) line.close();
    await faults.stop();
  });
});
