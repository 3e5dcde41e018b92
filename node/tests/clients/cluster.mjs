// A cluster of real processes (`rookery cluster`), and a proxy in front of it that sends each request to the next node.

import { spawn } from "node:child_process";
import { createWriteStream, existsSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import path from "node:path";

import { until } from "./wait.mjs";

const free = (port) =>
  new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

/** Time for the answer of a node: one that is killed or frozen gives none. */
const ANSWER_MS = 10_000;

/** Fetches from a node; `undefined` without an answer. */
const ask = (url) => fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => undefined);

/** First of `count` free ports with further `count` free ones a thousand and three thousand above. */
async function portBase(count) {
  for (;;) {
    // Below the ephemeral ports, so that no outgoing connection takes one meanwhile.
    const base = 10_000 + Math.floor(Math.random() * 20_000);
    const ports = Array.from({ length: count }, (_, i) => [base + i, base + 1_000 + i, base + 3_000 + i]).flat();
    if ((await Promise.all(ports.map(free))).every(Boolean)) return base;
  }
}

export class Cluster {
  /** Starts `nodes` nodes of the binary `rookery` in the folder `bin`. `settings`: pairs for `--set`. */
  static async start(bin, dir, nodes, settings = []) {
    const cluster = new Cluster();
    cluster.bin = path.join(bin, "rookery");
    cluster.dir = dir;
    cluster.children = [];
    await mkdir(dir, { recursive: true });
    const base = await portBase(nodes);
    const set = settings.flatMap((pair) => ["--set", pair]);
    cluster.spawn("cluster", [
      ...["cluster", "--nodes", String(nodes), "--data", dir, "--http-base", String(base), "--with-parent"],
      ...set,
    ]);
    const state = path.join(dir, "cluster.json");
    await until("the cluster is ready", () => {
      if (cluster.children[0].exitCode !== null) throw new Error(`the cluster ended: see ${dir}/cluster.log`);
      return existsSync(state);
    }, 180_000);
    cluster.nodes = JSON.parse(readFileSync(state, "utf8")).nodes;
    await cluster.whole();
    return cluster;
  }

  spawn(name, args) {
    const log = createWriteStream(path.join(this.dir, `${name}.log`), { flags: "a" });
    // The node ends with its standard input: a killed harness leaves no process behind.
    const child = spawn(this.bin, args, { stdio: ["pipe", "pipe", "pipe"] });
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    this.children.push(child);
    return child;
  }

  node(id) {
    return this.nodes.find((node) => node.id === id);
  }

  kill(id) {
    const node = this.node(id);
    process.kill(node.pid, "SIGKILL");
    node.pid = undefined;
  }

  /** Starts the nodes again that a failed scenario has left dead. */
  async mend() {
    for (const { id, pid } of this.nodes) {
      if (pid === undefined) await this.restart(id);
    }
    await this.whole();
  }

  async restart(id) {
    const node = this.node(id);
    const config = path.join(this.dir, `node-${id}`, "node.toml");
    node.pid = this.spawn(`node-${id}`, ["node", "--config", config, "--with-parent"]).pid;
    await this.whole();
  }

  /** Waits until every node is ready and every shard has all its replicas: only then may any one node be killed. */
  async whole() {
    for (const node of this.nodes) {
      await until(`node ${node.id} is ready, and each shard replicated`, async () => {
        const ready = await ask(`http://${node.http}/readyz`);
        if (ready?.status !== 200) return false;
        const view = await (await ask(`http://${node.http}/v1/cluster`))?.json();
        return view?.shards.every((shard) => shard.replicas.length === Math.min(3, this.nodes.length));
      }, 120_000);
    }
  }

  async stop() {
    for (const child of this.children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.stdin.end();
      await until(`process ${child.pid} ends`, () => child.exitCode !== null || child.signalCode !== null);
    }
  }
}

export class Proxy {
  /** Listens in front of the nodes. Each request and each upgrade goes to the next node that takes a connection. */
  static async start(cluster) {
    const proxy = new Proxy();
    proxy.cluster = cluster;
    proxy.next = 0;
    proxy.connections = new Set();
    proxy.server = http.createServer((request, response) => proxy.request(request, response));
    proxy.server.on("upgrade", (request, socket, head) => proxy.upgrade(request, socket, head));
    await new Promise((resolve) => proxy.server.listen(0, "127.0.0.1", resolve));
    proxy.address = `127.0.0.1:${proxy.server.address().port}`;
    proxy.mqtt = net.createServer((socket) => proxy.raw(socket));
    await new Promise((resolve) => proxy.mqtt.listen(0, "127.0.0.1", resolve));
    proxy.mqttAddress = `127.0.0.1:${proxy.mqtt.address().port}`;
    return proxy;
  }

  /** Connects to the next node; a node that is down is left out, as by any proxy. */
  async connect(listener = "http") {
    const { nodes } = this.cluster;
    for (let attempt = 0; attempt < nodes.length; attempt += 1) {
      const node = nodes[this.next++ % nodes.length];
      const [host, port] = node[listener].split(":");
      const socket = net.connect(Number(port), host);
      const connected = await new Promise((resolve) => {
        socket.once("connect", () => resolve(true));
        socket.once("error", () => resolve(false));
      });
      if (connected) return { node, socket };
    }
    return undefined;
  }

  async request(request, response) {
    const target = await this.connect();
    if (!target) return response.writeHead(502).end();
    // The client may have gone meanwhile: nothing would close the connection to the node.
    if (response.destroyed) return target.socket.destroy();
    const { method, url, headers } = request;
    const pair = { url, node: target.node.id, socket: request.socket, upstream: target.socket };
    this.connections.add(pair);
    const forwarded = http.request({ method, path: url, headers, createConnection: () => target.socket });
    forwarded.on("response", (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    forwarded.on("error", () => response.destroy());
    response.on("close", () => {
      forwarded.destroy();
      this.connections.delete(pair);
    });
    request.pipe(forwarded);
  }

  async upgrade(request, socket, head) {
    socket.on("error", () => socket.destroy());
    const target = await this.connect();
    if (!target) return socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    }
    target.socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    target.socket.write(head);
    this.join(request.url, socket, target);
  }

  /** Forwards a connection without HTTP, which is named by its first bytes. */
  raw(socket) {
    socket.on("error", () => socket.destroy());
    socket.once("data", async (first) => {
      socket.pause();
      const target = await this.connect("mqtt");
      if (!target) return socket.destroy();
      target.socket.write(first);
      this.join(first.toString("latin1"), socket, target);
    });
  }

  join(url, socket, target) {
    // The client may have gone meanwhile: nothing would close the connection to the node.
    if (socket.destroyed) return target.socket.destroy();
    const pair = { url, node: target.node.id, socket, upstream: target.socket };
    this.connections.add(pair);
    for (const [from, to] of [[socket, target.socket], [target.socket, socket]]) {
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        this.connections.delete(pair);
      });
    }
  }

  /** The open requests and upgrades, and connections without HTTP, whose URL or first bytes contain `text`. */
  connectionsOf(text) {
    return [...this.connections].filter((pair) => pair.url.includes(text));
  }

  /** Cuts the requests and upgrades whose URL contains `text`, without a word to either side. */
  cut(text) {
    for (const { socket, upstream } of this.connectionsOf(text)) {
      socket.destroy();
      upstream.destroy();
    }
  }

  stop() {
    this.cut("");
    this.server.closeAllConnections();
    this.server.close();
    this.mqtt.close();
  }
}
