// A real cluster, and people with browsers.

import { mkdir } from "node:fs/promises";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
// The helper of the client's tests; `npm run test:browser` builds it.
import { startCluster } from "../../.build/node.js";

export { eventually, startCluster, withNode } from "../../.build/node.js";

/** Starts a cluster and a browser before the tests of a suite, and stops both behind the last; `take` gets them. */
export function setUp(take) {
  let cluster;
  let browser;
  before(async () => {
    cluster = await startCluster();
    const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
    // For the pictures of the pages.
    await mkdir(".shots", { recursive: true });
    take({ cluster, browser });
  });
  after(async () => {
    await browser?.close();
    await cluster?.stop();
  });
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
