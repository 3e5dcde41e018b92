// Starts real nodes for scripts and tests: on free loopback ports, with their data in a temporary folder.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { resolve as absolute, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const DEADLINE_MS = 180_000;
/** A local cluster serves MQTT at its HTTP ports and this. */
const MQTT = 3_000;

/** The binary: `ROOKERY_BIN`, or a build in the work tree. */
export function binary(): string {
  const builds = ["release", "debug"].map((profile) => absolute("..", process.env.CARGO_TARGET_DIR ?? "target", profile, "rookery"));
  const found = process.env.ROOKERY_BIN ?? builds.find((path) => existsSync(path));
  if (!found) throw new Error("no binary of the server: build it, or name one in ROOKERY_BIN");
  return found;
}

/** Waits until the condition returns something. */
export async function eventually<T>(condition: () => T | Promise<T>, what: string): Promise<NonNullable<T>> {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await sleep(20);
  }
}

/** Starts `rookery dev` with settings (`section.name=value`), runs `use` with its address, and stops it. */
export async function withNode<T>(use: (url: string) => Promise<T>, settings: string[] = []): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "rookery-sdk-"));
  const node = run(["dev", "--data", join(folder, "data"), "--http", "127.0.0.1:0", ...settings.flatMap((it) => ["--set", it])]);
  try {
    const url = await eventually(() => {
      if (node.process.exitCode !== null) throw new Error(`the node ended: ${node.output()}`);
      return /http:\/\/127\.0\.0\.1:\d+/.exec(node.output())?.[0] ?? "";
    }, "the address of the node");
    await eventually(() => ready(url), "a ready node");
    return await use(url);
  } finally {
    await stop(node.process);
    await rm(folder, { recursive: true, force: true });
  }
}

export interface ClusterNode {
  id: number;
  url: string;
  pid: number;
  /** The configuration to start the node again with. */
  config: string;
}

export interface RunningCluster {
  nodes: ClusterNode[];
  /** What the cluster has printed so far. */
  output: () => string;
  stop: () => Promise<void>;
}

/** Starts a node of a cluster again, after it was killed or stopped. */
export function restart(node: ClusterNode): ChildProcess {
  return run(["node", "--config", node.config]).process;
}

/** Starts `rookery cluster` with three nodes, and waits until it is ready. */
export async function startCluster(): Promise<RunningCluster> {
  const folder = await mkdtemp(join(tmpdir(), "rookery-sdk-"));
  const data = join(folder, "data");
  const http = await freePorts(3, [0, MQTT]);
  const between = await freePorts(3, [0]);
  const { process, output } = run(["cluster", "--data", data, "--http-base", `${http}`, "--cluster-base", `${between}`, "--with-parent"]);
  const end = async () => {
    await stop(process);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const text = await eventually(async () => {
      if (process.exitCode !== null) throw new Error(`the cluster ended: ${output()}`);
      return readFile(join(data, "cluster.json"), "utf8").catch(() => "");
    }, "a ready cluster");
    const { nodes } = JSON.parse(text) as { nodes: { id: number; http: string; pid: number }[] };
    const config = (i: number) => join(data, `node-${i + 1}`, "node.toml");
    return { nodes: nodes.map(({ id, http, pid }, i) => ({ id, url: `http://${http}`, pid, config: config(i) })), output, stop: end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Starts a cluster, runs `use` with its nodes, and stops it. */
export async function withCluster<T>(use: (nodes: ClusterNode[]) => Promise<T>): Promise<T> {
  const cluster = await startCluster();
  try {
    return await use(cluster.nodes);
  } finally {
    await cluster.stop();
  }
}

export async function ready(url: string): Promise<boolean> {
  return (await fetch(`${url}/readyz`).catch(() => undefined))?.ok ?? false;
}

function run(args: string[]): { process: ChildProcess; output: () => string } {
  const child = spawn(binary(), args, { stdio: ["pipe", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      text += String(chunk);
    });
  }
  return { process: child, output: () => text };
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

/** Returns the first of several free ports in a row, whose neighbours at the given distances are free, too. */
async function freePorts(count: number, distances: number[]): Promise<number> {
  for (;;) {
    // Below those that the system hands out, so that no other process gets one in between.
    const first = 10_000 + Math.floor(Math.random() * 18_000);
    const wanted = distances.flatMap((distance) => Array.from({ length: count }, (_, i) => first + distance + i));
    const taken = await Promise.all(wanted.map((port) => claim(port).catch(() => 0)));
    if (taken.every((port) => port !== 0)) return first;
  }
}

function claim(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(port, "127.0.0.1", () => {
      const taken = (server.address() as AddressInfo).port;
      server.close(() => resolve(taken));
    });
  });
}
