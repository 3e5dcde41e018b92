// Clients in a real browser: its database, its locks, its tabs. CHROMIUM names the browser.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { build } from "esbuild";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { eventually, withNode } from "../../scripts/node.js";
import type { Conversation, Rookery } from "../../src/index.js";
import type { Login } from "../../src/login.js";
import { Line } from "../integration/line.js";

declare const chat: Rookery;
declare const login: Login;
declare const notes: Conversation;

describe("browser", { timeout: 600_000 }, () => {
  let browser: Browser;
  let script = "";
  const site = createServer((request, response) => {
    const page = !request.url?.startsWith("/page.js");
    response.writeHead(200, { "content-type": page ? "text/html" : "text/javascript" });
    response.end(page ? '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>' : script);
  });
  let origin = "";

  before(async () => {
    const bundle = await build({ entryPoints: ["test/browser/page.ts"], bundle: true, format: "esm", target: "es2022", write: false });
    script = bundle.outputFiles[0]?.text ?? "";
    await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  });

  after(async () => {
    await browser.close();
    site.close();
  });

  async function inBrowser(
    use: (context: BrowserContext, line: Line, open: (extra?: string) => Promise<Page>) => Promise<void>,
  ): Promise<void> {
    const settings = [`server.allowed_origins=["${origin}"]`, "login.access_token_ttl=10s"];
    await withNode(async (url) => {
      const line = new Line(url);
      const node = await line.open();
      const context = await browser.newContext();
      const open = async (extra = "") => {
        const page = await context.newPage();
        await page.goto(`${origin}/?node=${encodeURIComponent(node)}${extra}`);
        return page;
      };
      try {
        await use(context, line, open);
      } finally {
        await context.close();
        line.close();
      }
    }, settings);
  }

  const live = (page: Page) => page.waitForFunction(() => chat.status.get().phase === "live");
  const shown = (page: Page) => page.evaluate(() => notes.messages.get().messages.map((it) => `${it.b.text} ${it.s !== undefined}`));

  test("five messages that were written offline survive a reload and go out in order", async () => {
    await inBrowser(async (_, line, open) => {
      const page = await open();
      await live(page);
      await page.evaluate(() => notes.send({ text: "0" }).settled);
      line.offline(true);
      await page.waitForFunction(() => chat.status.get().phase !== "live");
      await page.evaluate(() => Promise.all(["1", "2", "3", "4", "5"].map((text) => notes.send({ text }).stored)));
      await page.reload();
      await page.waitForFunction(() => notes.messages.get().messages.length === 6 && chat.outbox.get().length === 5);
      line.offline(false);
      await page.evaluate(() => dispatchEvent(new Event("online")));
      await page.waitForFunction(() => chat.outbox.get().length === 0);
      await eventually(async () => (await shown(page)).every((it) => it.endsWith("true")), "acknowledged messages");
      assert.deepEqual(await shown(page), ["0 true", "1 true", "2 true", "3 true", "4 true", "5 true"]);
    });
  });

  test("five tabs have one connection, show the same, and go on when the leading one is closed", async () => {
    await inBrowser(async (_, line, open) => {
      const pages: Page[] = [];
      for (let i = 0; i < 5; i++) pages.push(await open());
      for (const page of pages) await live(page);
      assert.equal(line.count, 1);
      assert.equal(await pages[0]?.evaluate(() => chat.status.get().store), "durable");
      for (const [i, page] of pages.entries()) await page.evaluate((text) => notes.send({ text }).settled, `${i}`);
      const all = ["0 true", "1 true", "2 true", "3 true", "4 true"];
      for (const page of pages) await eventually(async () => (await shown(page)).join() === all.join(), "the same in every tab");
      const leaders = await Promise.all(pages.map((page) => page.evaluate(() => chat.status.get().leader)));
      assert.deepEqual(leaders, [true, false, false, false, false]);
      const began = Date.now();
      const [last] = pages.slice(-1) as [Page];
      await Promise.all([pages[0]?.close(), last.evaluate(() => notes.send({ text: "5" }).settled)]);
      console.log(`# takeover and answer after ${Date.now() - began} ms`);
      for (const page of pages.slice(1))
        await eventually(async () => (await shown(page)).join() === [...all, "5 true"].join(), "the last message");
      assert.equal(line.count, 1);
    });
  });

  for (const by of ["sse", "poll"]) {
    test(`without a WebSocket a page sends, receives and goes on after a reload, by ${by}`, async () => {
      await inBrowser(async (_, line, open) => {
        const page = await open(`&by=${by}`);
        const sockets: string[] = [];
        page.on("websocket", (socket) => sockets.push(socket.url()));
        await live(page);
        await page.evaluate(() => notes.send({ text: "0" }).settled);
        line.offline(true);
        await page.waitForFunction(() => chat.status.get().phase !== "live");
        await page.evaluate(() => notes.send({ text: "1" }).stored);
        line.offline(false);
        await page.reload();
        await eventually(async () => (await shown(page)).join() === "0 true,1 true", "both messages");
        assert.deepEqual(sockets, []);
      });
    });
  }

  test("two tabs at the end of a token make one refresh", async () => {
    await inBrowser(async (context, _, open) => {
      const refreshes: number[] = [];
      context.on("request", (request) => {
        if (request.url().endsWith("/v1/auth/refresh") && request.method() === "POST") refreshes.push(Date.now());
      });
      const [first, second] = [await open("&login"), await open("&login")];
      await first.evaluate(async () => {
        const { challenge, dev_code } = await login.requestCode("ada@example.org");
        await login.verify(challenge, dev_code ?? "");
        chat.start();
      });
      await live(first);
      await second.evaluate(() => chat.start());
      await live(second);
      const since = await first.evaluate(() => chat.status.get().since);
      await eventually(() => refreshes.length >= 2, "two renewals");
      // A token holds for ten seconds and is renewed after five: a second request for one of them would come at once.
      assert.ok((refreshes[1] ?? 0) - (refreshes[0] ?? 0) > 1_000, "one request per renewal");
      assert.equal(await first.evaluate(() => chat.status.get().since), since, "the session went on");
      await second.waitForFunction(() => chat.status.get().phase === "live");
    });
  });
});
