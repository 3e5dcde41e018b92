// A real cluster, and people with browsers.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";

const DEADLINE_MS = 180_000;
/** A local cluster serves MQTT at its HTTP ports and this. */
const MQTT = 3_000;

function binary() {
  const builds = ["release", "debug"].map((profile) => resolve("..", process.env.CARGO_TARGET_DIR ?? "target", profile, "rookery"));
  const found = process.env.ROOKERY_BIN ?? builds.find((path) => existsSync(path));
  if (!found) throw new Error("no binary of the server: build it, or name one in ROOKERY_BIN");
  return found;
}

/** Waits until the condition returns something. */
export async function eventually(condition, what) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await sleep(20);
  }
}

/** Starts `rookery cluster` with three nodes; returns `{ nodes: [{ id, url, pid }], stop }`. */
export async function startCluster() {
  const folder = await mkdtemp(join(tmpdir(), "rookery-web-"));
  const data = join(folder, "data");
  const [http, between] = [await freePorts(3, [0, MQTT]), await freePorts(3, [0])];
  const args = ["cluster", "--data", data, "--http-base", `${http}`, "--cluster-base", `${between}`, "--with-parent"];
  const child = spawn(binary(), args, { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += String(chunk);
    });
  }
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const text = await eventually(async () => {
      if (child.exitCode !== null) throw new Error(`the cluster ended: ${output}`);
      return readFile(join(data, "cluster.json"), "utf8").catch(() => "");
    }, "a ready cluster");
    const nodes = JSON.parse(text).nodes.map((node) => ({ id: node.id, url: `http://${node.http}`, pid: node.pid }));
    return { nodes, stop, output: () => output };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Returns the first of several free ports in a row, whose neighbours at the given distances are free, too. */
async function freePorts(count, distances) {
  for (;;) {
    const first = await claim(0);
    const wanted = distances.flatMap((distance) => Array.from({ length: count }, (_, i) => first + distance + i));
    const taken = await Promise.all(wanted.map((port) => (port < 65_536 ? claim(port).catch(() => 0) : 0)));
    if (taken.every((port) => port !== 0)) return first;
  }
}

function claim(port) {
  return new Promise((done, refused) => {
    const server = createServer();
    server.on("error", refused);
    server.listen(port, "127.0.0.1", () => {
      const taken = server.address().port;
      server.close(() => done(taken));
    });
  });
}

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
}

/** Opens the page of a node in a browser of its own, and signs in. An error of the page or its console fails the test. */
export async function person(browser, node, user, options = {}) {
  const { query = "", ...context } = options;
  const own = await browser.newContext({ viewport: { width: 1_280, height: 800 }, locale: "en-US", ...context });
  const page = await own.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    // A connection that breaks is what some tests are about.
    if (message.type() === "error" && !/ERR_CONNECTION|ERR_EMPTY_RESPONSE|WebSocket connection/.test(message.text()))
      faults.push(message.text());
  });
  await page.goto(`${node.url}/${query}`);
  await page.locator("form input").first().fill(user);
  await page.keyboard.press("Enter");
  await page.locator(".sidebar").waitFor();
  return { user, page, faults, close: () => own.close() };
}

export async function createGroup(page, title, members) {
  await page.getByRole("button", { name: "New chat" }).first().click();
  await page.getByText("Group", { exact: true }).click();
  await page.getByLabel("Title").fill(title);
  await page.getByLabel("Members").fill(members.join(" "));
  await page.getByRole("button", { name: "Create" }).click();
  await page.locator(".composer").waitFor();
  return decodeURIComponent(new URL(page.url()).hash.replace("#/c/", ""));
}

export async function openChat(page, title) {
  await page.locator("a.row", { hasText: title }).click();
  await page.locator(".composer").waitFor();
}

export async function say(page, text) {
  const field = page.locator(".composer textarea");
  await field.fill(text);
  await field.press("Enter");
}

export const message = (page, text) => page.locator("article.message", { hasText: text });

/** The node that owns a conversation, as another one has it. */
export async function ownerOf(nodes, c) {
  const answer = await fetch(`${nodes[0].url}/v1/cluster/owner?conversation=${c}`);
  const { owner } = await answer.json();
  return nodes.find((node) => node.id === owner);
}

/** Cuts a page off the network. The browser keeps its socket: only the silence behind it shows that the way is cut. */
export async function cutOff(page) {
  await page.context().setOffline(true);
  // A device that comes back to the network asks at once, instead of at the next heartbeat.
  await page.evaluate(() => dispatchEvent(new Event("online")));
}
