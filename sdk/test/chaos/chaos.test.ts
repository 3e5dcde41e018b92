// Many clients in one process, three real nodes, and faults all the time: nodes that are killed or drained and come back,
// lines between clients and nodes that are cut. The oracle of the load harness judges what they recorded. SECONDS and
// CLIENTS set the size, SEED repeats the order of the faults.

import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ClusterNode, eventually, ready, restart, stop, withCluster } from "../../scripts/node.js";
import type { Rookery } from "../../src/index.js";
import { Line } from "../integration/line.js";
import { client, live, until } from "../integration/support.js";
import { judge, Recorded, Recording, readLog } from "./recording.js";

const SECONDS = Number(process.env.SECONDS ?? 120);
const CLIENTS = Number(process.env.CLIENTS ?? 50);
const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const GROUP = 5;
const EVERY_MS = 2_000;
const PAUSE_MS = 3_000;
/** Time after the faults in which every message is answered. */
const ANSWERED_MS = 90_000;

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

/** Waits for the end of catching up. What is missing then is for the oracle to say. */
async function caughtUp(members: readonly Recorded[]): Promise<void> {
  const total = members.reduce((sum, member) => sum + member.sent, 0);
  for (const { room, chat, reads } of members) {
    const wait = async () => {
      while (!room.messages.get().atStart) await room.messages.older();
      await until(room.messages, (it) => it.messages.length >= total && it.messages.every((one) => one.changed > 0), "all messages");
      if (reads) await until(chat.inbox, (rows) => rows.every((row) => row.unread === 0), "nothing unread");
    };
    await wait().catch((error) => console.log(`# ${error}`));
  }
}

test("under faults the oracle finds nothing lost, doubled or reordered, and receipts only move forward", {
  timeout: (SECONDS + 600) * 1_000,
}, async () => {
  console.log(`# SEED=${SEED} CLIENTS=${CLIENTS} SECONDS=${SECONDS}`);
  const folder = await mkdtemp(join(tmpdir(), "rookery-chaos-"));
  const recording = new Recording(join(folder, "recording.ndjson"));
  await withCluster(async (nodes) => {
    const lines = nodes.map((node) => new Line(node.url));
    const urls = await Promise.all(lines.map((line) => line.open()));
    const users = Array.from({ length: CLIENTS }, (_, i) => `u${i}`);
    const chats = users.map((user) => client(urls, user));
    await live(...chats);
    const groups: Recorded[][] = [];
    for (let i = 0; i < CLIENTS; i += GROUP) {
      const others = users.slice(i + 1, i + GROUP);
      const { key } = await (chats[i] as Rookery).create({ kind: "group", members: others });
      const begin = (await readLog((nodes[0] as ClusterNode).url, users[i] as string, key)).at(-1)?.s ?? 0;
      const group: Recorded[] = [];
      for (const [at, chat] of chats.slice(i, i + GROUP).entries()) {
        await until(chat.inbox, (rows) => rows.length === 1, "the group");
        group.push(new Recorded(recording, users[i + at] as string, chat, chat.conversation(key), begin, at < GROUP - 1));
      }
      groups.push(group);
    }

    const members = groups.flat();
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
    await Promise.race([Promise.all(members.flatMap((member) => member.settled)), sleep(ANSWERED_MS, undefined, { ref: false })]);
    for (const group of groups) await caughtUp(group);

    for (const member of members) member.finish();
    for (const group of groups) {
      const [{ user, room }] = group as [Recorded];
      // Every node has the same log.
      for (const { url } of nodes)
        recording.write({ t: "log", u: user, c: room.key, node: url, events: await readLog(url, user, room.key) });
    }
    recording.end();
    console.log(`# ${JSON.stringify(faults.done)}`);
    for (const chat of chats) await chat.stop();
    for (const line of lines) line.close();
    await faults.stop();
  });
  console.log(`# ${(await judge(recording.path)).trim()}`);
  await rm(folder, { recursive: true });
});
