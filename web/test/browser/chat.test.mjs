// Two people at two nodes: what one does, the other sees.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGroup, cutOff, eventually, message, openChat, person, say, setUp } from "./support.mjs";

describe("chat", { timeout: 600_000 }, () => {
  let cluster;
  let browser;

  setUp((own) => {
    ({ cluster, browser } = own);
  });

  test("what one person does is seen by the other, at another node", async () => {
    const alice = await person(browser, cluster.nodes[0], "alice");
    const bob = await person(browser, cluster.nodes[1], "bob");
    const seen = async (what, locator) => {
      const began = Date.now();
      await locator.first().waitFor({ timeout: 60_000 });
      console.log(`# ${what}: ${Date.now() - began} ms`);
    };
    await createGroup(alice.page, "Hike", ["bob"]);
    await say(alice.page, "Who is in?");
    await seen("a new conversation", bob.page.locator("a.row", { hasText: "Hike" }));
    await seen("unread", bob.page.locator("a.row .badge", { hasText: "1 unread message" }));
    await openChat(bob.page, "Hike");
    await seen("read", alice.page.locator('article.message[data-state="read"]', { hasText: "Who is in?" }));

    await bob.page.locator(".composer textarea").pressSequentially("I a");
    await seen("typing", alice.page.locator(".typing", { hasText: "bob is typing" }));
    await say(bob.page, "I am");
    await seen("a message", message(alice.page, "I am"));

    await message(bob.page, "I am").hover();
    await bob.page.getByRole("button", { name: "Edit", exact: true }).click();
    await say(bob.page, "I am in, @alice");
    await seen("an edit", message(alice.page, "I am in").locator(".meta", { hasText: "edited" }));
    assert.equal(await message(alice.page, "I am in").locator(".mention.self").textContent(), "@alice");

    await message(alice.page, "I am in").hover();
    await alice.page.getByRole("button", { name: "React with 👍" }).click();
    await seen("a reaction", bob.page.getByRole("button", { name: "👍, 1 reaction: alice" }));

    await message(alice.page, "I am in").hover();
    await alice.page.getByRole("button", { name: "Reply" }).click();
    await say(alice.page, "Great");
    const reply = message(bob.page, "Great");
    await seen("a reply", reply.getByRole("button", { name: "Reply to bob: I am in, @alice" }));
    await reply.locator(".quote").click();
    await bob.page.locator("article.message.marked", { hasText: "I am in" }).waitFor();

    await message(alice.page, "Great").hover();
    await alice.page.getByRole("button", { name: "Delete", exact: true }).click();
    await alice.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await seen("a deletion", bob.page.locator("article.message", { hasText: "This message was deleted" }));

    await alice.page.getByRole("button", { name: "Details" }).click();
    await seen("a member who is online", alice.page.locator(".members li", { hasText: "bob" }).getByText("Online · Has read everything"));
    await bob.close();
    await seen("a member who has gone", alice.page.locator(".members li", { hasText: "bob" }).getByText("Last seen"));
    assert.deepEqual([...alice.faults, ...bob.faults], []);
    await alice.close();
  });

  test("older pages, the unread line, and a jump to a message that is not loaded", async () => {
    const carol = await person(browser, cluster.nodes[0], "carol");
    const c = await createGroup(carol.page, "Archive", ["dave"]);
    // By the API, as a back end would: the outbox keeps to the rate of a person.
    const send = async (token, b, more = {}) => {
      const headers = { authorization: `Bearer dev:${token}`, "content-type": "application/json" };
      const body = JSON.stringify({ b, cid: crypto.randomUUID(), ...more });
      return eventually(async () => {
        const answer = await fetch(`${cluster.nodes[0].url}/v1/conversations/${c}/messages`, { method: "POST", headers, body });
        return answer.ok && answer.json();
      }, "an ack");
    };
    const first = await send("carol", { text: "the very first" });
    for (let i = 0; i < 120; i++) await send("carol", { text: `number ${i}` });
    await send("carol", { text: "the last word" }, { reply_to: first.s });
    const dave = await person(browser, cluster.nodes[2], "dave");
    await dave.page.locator("a.row .badge", { hasText: "122 unread messages" }).waitFor();
    await openChat(dave.page, "Archive");
    await message(dave.page, "the last word").waitFor();
    assert.equal(await message(dave.page, "the very first").count(), 0);
    await message(dave.page, "the last word").locator(".quote").click();
    await dave.page.locator("article.message.marked", { hasText: "the very first" }).waitFor();
    await dave.page.getByRole("button", { name: "To the latest message" }).click();
    await message(dave.page, "the last word").waitFor();
    await eventually(async () => {
      if (await dave.page.locator(".unread-line").count()) return true;
      await dave.page.locator(".timeline").evaluate((box) => box.scrollTo(0, 0));
      return false;
    }, "the unread line");
    const texts = await dave.page.locator("article.message .text").allTextContents();
    assert.deepEqual(texts, ["the very first", ...Array.from({ length: 120 }, (_, i) => `number ${i}`), "the last word"]);

    await dave.page.getByRole("button", { name: "Search in this chat" }).click();
    await dave.page.getByLabel("Search in the loaded messages").fill("number 11");
    await dave.page.getByText("11 messages of 122").waitFor();
    await dave.page.locator(".results button").last().click();
    await dave.page.locator("article.message.marked", { hasText: "number 11" }).waitFor();
    assert.deepEqual([...carol.faults, ...dave.faults], []);
    await carol.close();
    await dave.close();
  });

  test("a ban is in the list of those who may lift it, and ends there", async () => {
    const grace = await person(browser, cluster.nodes[0], "grace");
    const hugo = await person(browser, cluster.nodes[1], "hugo");
    await createGroup(grace.page, "Choir", ["hugo"]);
    await hugo.page.locator("a.row", { hasText: "Choir" }).waitFor();
    await grace.page.getByRole("button", { name: "Details" }).click();
    const members = grace.page.locator(".members:not(.bans)");
    await members.locator("li", { hasText: "hugo" }).getByRole("button", { name: "Ban" }).click();
    const ban = grace.page.locator(".bans li", { hasText: "hugo" });
    await ban.getByText("By grace").waitFor();
    await members.locator("li", { hasText: "hugo" }).waitFor({ state: "detached" });
    await hugo.page.locator("a.row", { hasText: "Choir" }).waitFor({ state: "detached" });
    await grace.page.getByLabel("Add a member").fill("hugo");
    await grace.page.getByRole("button", { name: "Add", exact: true }).click();
    await grace.page.getByRole("alert").waitFor();
    await ban.getByRole("button", { name: "Unban hugo" }).click();
    await ban.waitFor({ state: "detached" });
    await grace.page.getByLabel("Add a member").fill("hugo");
    await grace.page.getByRole("button", { name: "Add", exact: true }).click();
    await hugo.page.locator("a.row", { hasText: "Choir" }).waitFor();
    assert.deepEqual([...grace.faults, ...hugo.faults], []);
    await grace.close();
    await hugo.close();
  });

  test("a picture of the own host is shown, others are initials", async () => {
    const { url } = cluster.nodes[0];
    const picture = async (user, avatar) => {
      const headers = { authorization: `Bearer dev:${user}`, "content-type": "application/json" };
      const answer = await fetch(`${url}/v1/me`, { method: "PATCH", headers, body: JSON.stringify({ avatar }) });
      assert.equal(answer.status, 200, await answer.text());
    };
    const [icon] = /\/assets\/icon[^"]+/.exec(await (await fetch(url)).text());
    await picture("pat", icon);
    await picture("elsewhere", "https://example.org/picture.png");
    await picture("lost", "/no-such-picture.png");
    const ida = await person(browser, cluster.nodes[0], "ida");
    await createGroup(ida.page, "Pictures", ["pat", "elsewhere", "lost"]);
    await ida.page.getByRole("button", { name: "Details" }).click();
    const avatar = (user) => ida.page.locator(".members li", { hasText: user }).locator(".avatar");
    await eventually(
      () =>
        avatar("pat")
          .locator("img")
          .evaluate((it) => it.naturalWidth > 0),
      "a loaded picture",
    );
    for (const [user, initial] of [
      ["elsewhere", "E"],
      ["lost", "L"],
    ])
      await avatar(user).getByText(initial, { exact: true }).waitFor();
    // The browser reports the picture that is missing; nothing else may be wrong.
    assert.deepEqual(
      ida.faults.filter((fault) => !/status of 404/.test(fault)),
      [],
    );
    await ida.close();
  });

  test("a login by code, a reload, and the way out", async () => {
    const page = await (await browser.newContext({ locale: "en-US" })).newPage();
    await page.goto(cluster.nodes[0].url);
    await page.getByRole("button", { name: "Sign in with a code" }).click();
    await page.getByLabel("Mail address or phone number").fill("ada@example.org");
    await page.getByRole("button", { name: "Send code" }).click();
    await page.getByText("Development mode: the code is filled in.").waitFor();
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.locator(".sidebar").waitFor();
    const user = await page.locator(".me bdi").textContent();
    assert.match(user, /^u_/);
    await page.reload();
    await page.locator(".me", { hasText: user }).waitFor();
    await page.getByRole("button", { name: "Menu" }).click();
    await page.getByLabel("Display name").fill("Ada Lovelace");
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator(".me", { hasText: "Ada Lovelace" }).waitFor();
    await page.keyboard.press("Escape");
    await page.reload();
    await page.locator(".me", { hasText: "Ada Lovelace" }).waitFor();
    await page.getByRole("button", { name: "Menu" }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("User name").waitFor();
    await page.reload();
    await page.getByLabel("User name").waitFor();
    await page.context().close();
  });

  test("a message that was written offline waits, and goes out by itself", async () => {
    const erin = await person(browser, cluster.nodes[0], "erin");
    const frank = await person(browser, cluster.nodes[1], "frank");
    await createGroup(erin.page, "Train", ["frank"]);
    await openChat(frank.page, "Train");
    await cutOff(erin.page);
    await erin.page.getByText(/Offline since|Trying again/).waitFor();
    await say(erin.page, "from the tunnel");
    await erin.page.locator('article.message[data-state="queued"]', { hasText: "Waits to be sent" }).waitFor();
    await erin.page.getByText("1 message waits").waitFor();
    await erin.page.context().setOffline(false);
    await message(frank.page, "from the tunnel").waitFor();
    await erin.page.locator('article.message[data-state="read"]', { hasText: "from the tunnel" }).waitFor();
    assert.equal(await message(frank.page, "from the tunnel").count(), 1);
    await erin.close();
    await frank.close();
  });
});
