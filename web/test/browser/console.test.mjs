// The console of a real cluster: what it shows, what an operator does with it, and with which token.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AxeBuilder } from "@axe-core/playwright";
import { eventually, person, setUp, withNode } from "./support.mjs";

const READ = "a-token-that-reads-in-tests";
const OPERATE = "a-token-that-operates-in-tests";
const PAGES = ["Overview", "Nodes", "Shards", "Failovers", "Sessions", "Warnings", "Events"];

/** Opens the console of a node. An error of the page or its console fails the test, but those of refused requests. */
async function open(browser, url, { query = "", ...context } = {}) {
  const own = await browser.newContext({ viewport: { width: 1_280, height: 800 }, locale: "en-US", ...context });
  const page = await own.newPage();
  const faults = [];
  const urls = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !/ERR_CONNECTION|status of 40[139]/.test(message.text())) faults.push(message.text());
  });
  page.on("request", (request) => urls.push(request.url()));
  await page.goto(`${url}/console${query}`);
  return { page, faults, urls, close: () => own.close() };
}

const sentence = (page) => page.locator(".sentence").textContent();
const row = (page, id) => page.locator(`tr[data-node="${id}"]`);
const to = (page, name) => page.getByRole("navigation").getByRole("link", { name }).click();

describe("console", { timeout: 900_000 }, () => {
  let cluster;
  let browser;

  setUp((own) => {
    ({ cluster, browser } = own);
  });

  test("the overview begins with one sentence, and has figures with their course", async () => {
    const { page, faults, close } = await open(browser, cluster.nodes[0].url);
    await eventually(
      async () => /^3 of 3 nodes, all \d+ shards owned, may lose 1 node$/.test(await sentence(page)),
      "the sentence of a healthy cluster",
    );
    assert.equal(await page.locator(".figure").count(), 7);
    // The second point of a line comes with the next step of five seconds.
    const course = page.locator('[data-figure="connections"] path');
    await eventually(async () => /L/.test(await course.getAttribute("d")), "a line");
    await to(page, "Shards");
    const shards = Number(/all (\d+)/.exec(await sentence(page))[1]);
    await page.locator("tr[data-shard]").first().waitFor();
    assert.equal(await page.locator("tr[data-shard]").count(), shards + 1, "every shard, and the meta group");
    assert.equal(await page.locator("td.owner").count(), shards + 1, "each has an owner");
    await to(page, "Warnings");
    await page.getByText("No warnings.").waitFor();
    await page.screenshot({ path: ".shots/console.png" });
    assert.deepEqual(faults, []);
    await close();
  });

  test("a drain asks whether the node can stop, and shows its progress; the log has it", async () => {
    const { page, faults, close } = await open(browser, cluster.nodes[0].url);
    await to(page, "Nodes");
    await row(page, 2).getByRole("button", { name: "Drain" }).click();
    await page.locator('[data-verdict="permitted"]').waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
    await page.locator('tr[data-node="2"][data-state="drained"]').waitFor({ timeout: 120_000 });
    assert.match(await sentence(page), /may lose no node/);
    await row(page, 2).getByRole("button", { name: "Forget" }).waitFor();
    // Without the drained one, no other node can stop.
    await row(page, 3).getByRole("button", { name: "Drain" }).click();
    await page.locator('[data-verdict="refused"]').waitFor();
    await page.getByRole("dialog").getByText("Down or draining already: Node 2.").waitFor();
    await page.keyboard.press("Escape");
    await row(page, 2).getByRole("button", { name: "Resume" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Resume" }).click();
    await page.locator('tr[data-node="2"][data-state="serving"]').waitFor({ timeout: 120_000 });
    await to(page, "Events");
    for (const act of ["nodes.drain", "nodes.resume"]) {
      const entry = page.locator("tr[data-event]", { hasText: act });
      await entry.getByText("done").waitFor();
      assert.equal(await entry.count(), 1);
    }
    assert.deepEqual(faults, []);
    await close();
  });

  test("the sessions of a user are listed, and one of them is ended", async () => {
    const alice = await person(browser, cluster.nodes[1], "alice");
    const { page, faults, close } = await open(browser, cluster.nodes[0].url);
    await to(page, "Sessions");
    await page.getByLabel("User").fill("alice");
    await page.keyboard.press("Enter");
    const session = page.locator("tr[data-session]").first();
    await session.waitFor();
    assert.equal(await session.locator("td").nth(4).textContent(), "0", "it was never resumed");
    const id = await session.getAttribute("data-session");
    await session.getByRole("button", { name: "Disconnect" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Disconnect" }).click();
    await page.locator(`tr[data-session="${id}"]`).waitFor({ state: "detached" });
    assert.deepEqual(faults, []);
    await close();
    await alice.close();
  });

  test("a token is asked for, stays in the tab and its headers, and one that reads cannot drain", async () => {
    await withNode(
      async (url) => {
        const { page, faults, urls, close } = await open(browser, url);
        const enter = async (token) => {
          await page.getByLabel("Token").fill(token);
          await page.keyboard.press("Enter");
        };
        await page.getByRole("heading", { name: "Token of an operator" }).waitFor();
        await enter("a-token-of-nobody-in-tests");
        await page.getByRole("alert").waitFor();
        await enter(READ);
        await page.locator(".figure").first().waitFor();
        assert.match(await sentence(page), /^1 of 1 nodes/);
        await to(page, "Nodes");
        await row(page, 1).getByRole("button", { name: "Drain" }).click();
        await page.locator('[data-verdict="refused"]').waitFor();
        await page.getByRole("button", { name: "Drain anyway" }).click();
        await page.getByText("Not done: this token may read only").waitFor();
        const log = await fetch(`${url}/v1/admin/events`, { headers: { authorization: `Bearer ${OPERATE}` } });
        assert.deepEqual((await log.json()).items, [], "nothing was begun");
        await page.getByRole("button", { name: "Use another token" }).click();
        await enter(OPERATE);
        await row(page, 1).getByRole("button", { name: "Drain" }).click();
        await page.getByRole("button", { name: "Drain anyway" }).click();
        // Nobody could take over: the node itself refuses, and the log has it.
        await page.getByText("Not done: no other node could take over").waitFor();
        await page.reload();
        await row(page, 1).waitFor();
        const kept = await page.evaluate(() => [Object.values(sessionStorage), Object.values(localStorage), document.cookie]);
        assert.deepEqual([kept[0], kept[1].includes(OPERATE), kept[2]], [[OPERATE], false, ""]);
        assert.deepEqual(
          urls.filter((one) => one.includes(READ) || one.includes(OPERATE)),
          [],
        );
        assert.deepEqual(faults, []);
        await close();
      },
      [`server.admin_token=read:monitor:${READ} operate:ci:${OPERATE}`],
    );
  });

  /** Walks through every page and dialog, and calls `look` at each. */
  async function walk(page, look) {
    const pages = page.locator("nav a");
    for (let i = 0; i < PAGES.length; i++) {
      await pages.nth(i).click();
      await page.locator("nav a[aria-current=page]").nth(0).waitFor();
      if (PAGES[i] === "Sessions") {
        await page.locator("form input").fill("nobody");
        await page.keyboard.press("Enter");
        await page.locator("main [role=status]").nth(1).waitFor();
      }
      // Shards have moved to the nodes that joined.
      if (PAGES[i] === "Failovers") await page.locator("tr[data-failover]").first().waitFor();
      await look(PAGES[i]);
    }
    await pages.nth(1).click();
    await row(page, 2).locator("button").first().click();
    await page.locator("[data-verdict=permitted]").waitFor();
    await look("drain");
    await page.keyboard.press("Escape");
  }

  for (const colorScheme of ["light", "dark"]) {
    test(`axe finds nothing on any page, ${colorScheme}`, async () => {
      const { page, close } = await open(browser, cluster.nodes[0].url, { colorScheme, reducedMotion: "reduce" });
      await page.locator(".figure").first().waitFor();
      const violations = [];
      await walk(page, async (state) => {
        const result = await new AxeBuilder({ page }).analyze();
        for (const { id, nodes } of result.violations) violations.push(`${state}: ${id}: ${nodes.map((node) => node.html).join("\n  ")}`);
      });
      await page.setViewportSize({ width: 390, height: 800 });
      assert.equal(await page.evaluate(() => document.scrollingElement.scrollWidth), 390, "nothing sticks out on a phone");
      await close();
      assert.deepEqual(violations, []);
    });
  }

  test("no text stands beside the catalogues", async () => {
    const { page, close } = await open(browser, cluster.nodes[0].url, { query: "?locale=pseudo" });
    await page.locator(".figure").first().waitFor();
    const bare = new Set();
    await walk(page, async (state) => {
      const found = await page.evaluate(() => {
        const texts = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        for (let node = walker.nextNode(); node; node = walker.nextNode()) {
          // Addresses, names and times are no texts of the page.
          if (node.parentElement.closest('[translate="no"], time, noscript') || !/\p{L}/u.test(node.data)) continue;
          if (!/⟦.*⟧/su.test(node.parentElement.textContent)) texts.push(node.data);
        }
        for (const place of document.querySelectorAll("[aria-label]")) {
          if (!/⟦.*⟧/su.test(place.getAttribute("aria-label"))) texts.push(place.getAttribute("aria-label"));
        }
        return texts;
      });
      for (const text of found) bare.add(`${state}: ${text}`);
    });
    assert.deepEqual([...bare], []);
    await close();
  });

  test("by keyboard alone: to the nodes, and into and out of a drain", async () => {
    const { page, close } = await open(browser, cluster.nodes[0].url);
    await page.locator(".figure").first().waitFor();
    const reach = async (what, matches) => {
      for (let i = 0; i < 60; i++) {
        if (await page.evaluate(matches)) return;
        await page.keyboard.press("Tab");
      }
      assert.fail(`Tab does not reach ${what}`);
    };
    await reach("the nodes", () => document.activeElement?.matches('nav a[href="#/nodes"]'));
    await page.keyboard.press("Enter");
    await row(page, 3).waitFor();
    await eventually(() => page.evaluate(() => document.activeElement?.matches("main > h1")), "the heading has the focus");
    await reach("the drain of node 3", () => document.activeElement?.matches('tr[data-node="3"] button'));
    await page.keyboard.press("Enter");
    await page.locator("[data-verdict=permitted]").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.ok(await page.evaluate(() => document.activeElement?.matches('tr[data-node="3"] button')), "the focus returns");
    await close();
  });

  // The last one: it leaves the cluster with two nodes.
  test("a killed node is seen within seconds, with its warnings; German has the same sentence", async () => {
    const { page, faults, close } = await open(browser, cluster.nodes[0].url, { locale: "de-DE" });
    await eventually(async () => /^3 von 3 Knoten/.test(await sentence(page)), "the sentence in German");
    process.kill(cluster.nodes[2].pid, "SIGKILL");
    await eventually(
      async () => /^2 von 3 Knoten, alle \d+ Shards haben einen Besitzer, kein Knoten darf ausfallen$/.test(await sentence(page)),
      "the sentence of two nodes",
    );
    await to(page, "Warnungen");
    await page.locator('[data-problem="node_silent"]').getByText("Knoten 3 antwortet nicht.").waitFor();
    await page.locator('[data-problem="no_spare_replica"]').waitFor();
    await to(page, "Knoten");
    await row(page, 3).getByRole("button", { name: "Entfernen" }).click();
    await page.getByRole("dialog").getByText("endgültig").waitFor();
    await page.keyboard.press("Escape");
    assert.deepEqual(faults, []);
    await close();
  });
});
