// The node that owns a conversation, and serves one of its people, dies while both write.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createGroup, eventually, openChat, ownerOf, person, say, setUp } from "./support.mjs";

const SECONDS = 20;
const KILL_AFTER = 5;

describe("failover", { timeout: 600_000 }, () => {
  let cluster;
  let browser;

  setUp((own) => {
    ({ cluster, browser } = own);
  });

  test("two people write on while the owner is killed: nothing is lost or doubled, and both see the same", async () => {
    const founder = await person(browser, cluster.nodes[0], "founder");
    const c = await createGroup(founder.page, "Storm", ["alice", "bob"]);
    await founder.close();
    const owner = await ownerOf(cluster.nodes, c);
    const other = cluster.nodes.find((node) => node !== owner);
    const alice = await person(browser, owner, "alice");
    const bob = await person(browser, other, "bob");
    for (const { page } of [alice, bob]) await openChat(page, "Storm");
    await alice.page.evaluate(() => {
      window.banners = [];
      const look = () => {
        const shown = document.querySelector("[data-banner]")?.dataset.banner;
        if (shown && window.banners.at(-1)?.[0] !== shown) window.banners.push([shown, Date.now()]);
      };
      new MutationObserver(look).observe(document.body, { childList: true, subtree: true, attributes: true });
    });

    let killed = 0;
    for (let i = 0; i < SECONDS; i++) {
      const began = Date.now();
      await Promise.all([say(alice.page, `alice ${i}`), say(bob.page, `bob ${i}`)]);
      if (i === KILL_AFTER) {
        killed = Date.now();
        process.kill(owner.pid, "SIGKILL");
      }
      await sleep(Math.max(0, 1_000 - (Date.now() - began)));
    }

    const banners = await alice.page.evaluate(() => window.banners);
    assert.ok(banners.length > 0, "the page says that it has lost its node");
    console.log(`# banner after ${banners[0][1] - killed} ms: ${banners.map(([name]) => name).join(", ")}`);
    const transcript = ({ page }) => page.locator("article.message .text").allTextContents();
    const settled = ({ page }) =>
      page.evaluate(() =>
        [...document.querySelectorAll("article.message.own")].every((it) => ["sent", "delivered", "read"].includes(it.dataset.state)),
      );
    for (const one of [alice, bob]) await eventually(() => settled(one), `every message of ${one.user} sent`);
    await eventually(async () => (await transcript(alice)).join() === (await transcript(bob)).join(), "equal transcripts");
    const texts = await transcript(alice);
    for (const user of ["alice", "bob"]) {
      assert.deepEqual(
        texts.filter((text) => text.startsWith(`${user} `)),
        Array.from({ length: SECONDS }, (_, i) => `${user} ${i}`),
        "each message once, in the order of its sender",
      );
    }
    assert.equal(texts.length, 2 * SECONDS);
    assert.deepEqual([...alice.faults, ...bob.faults], []);

    // The drawer shows the new owner.
    await alice.page.getByRole("button", { name: "Menu" }).click();
    await alice.page.getByRole("dialog").getByText("Developer drawer").click();
    await alice.page.keyboard.press("Escape");
    const fact = (name) => alice.page.locator(".drawer dl > div", { hasText: name }).locator("dd").textContent();
    await eventually(
      async () => /^\d+$/.test(await fact("Owner")) && Number(await fact("Owner")) !== owner.id,
      "another owner in the drawer",
    );
    assert.notEqual(await fact("Address"), new URL(owner.url).host);
    assert.match(await fact("Last ack"), /^\d+(\.\d)? ms$/);
    await alice.close();
    await bob.close();
  });
});
