// The page for everybody: axe, the keyboard alone, other languages, right to left, large type.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AxeBuilder } from "@axe-core/playwright";
import { createGroup, cutOff, message, openChat, person, say, setUp } from "./support.mjs";

describe("access", { timeout: 900_000 }, () => {
  let cluster;
  let browser;

  setUp((own) => {
    ({ cluster, browser } = own);
  });

  /** Walks through every view and state of the page, and calls `look` at each. */
  async function walk(page, look) {
    const close = () => page.keyboard.press("Escape");
    const gone = () => page.locator("dialog").waitFor({ state: "detached" });
    await look("no chats");
    await page.locator(".bar .filled").click();
    for (const kind of ["direct", "group", "channel", "join"]) {
      await page.locator(`input[value="${kind}"]`).check({ force: true });
      await look(`new chat: ${kind}`);
    }
    await page.locator('input[value="group"]').check({ force: true });
    await page.locator("dialog .field input").nth(0).fill("Hike");
    await page.locator("dialog .field input").nth(1).fill("guest");
    await page.locator("dialog button[type=submit]").click();
    await page.locator(".composer").waitFor();
    await gone();
    await say(page, "Hello @guest, see https://example.org and `code`");
    await say(page, "🎉");
    await message(page, "Hello").hover();
    await page.locator(".message-tools").waitFor();
    await look("tools of a message");
    await page.locator(".message-tools .emoji").first().click();
    await page.locator(".reaction").waitFor();
    await message(page, "Hello").hover();
    await page.locator(".message-tools .icon-button:not(.emoji)").nth(1).click();
    await look("reply");
    await say(page, "A reply");
    await page.locator(".message .quote").waitFor();
    // Only a message that is in the log can be deleted.
    await page.locator("article.message[data-s]", { hasText: "A reply" }).focus();
    await page.keyboard.press("Delete");
    await look("question before a deletion");
    await page.locator("dialog .danger").click();
    await page.locator(".text.quiet").waitFor();
    await look("timeline");
    await page.locator(".composer .icon-button").first().click();
    await look("emoji");
    await close();
    await gone();
    await page.locator(".composer textarea").pressSequentially("@gu");
    await page.locator(".suggestions").waitFor();
    await look("suggestions");
    await page.locator(".composer textarea").fill("");
    const tools = page.locator(".room > .bar > .icon-button:not(.back)");
    await tools.nth(1).click();
    await page.locator(".members li").nth(1).waitFor();
    await look("details");
    const outcast = page.locator(".members:not(.bans) li", { hasText: "outcast" });
    await page.locator(".panel form input").nth(1).fill("outcast");
    await page.locator(".panel form input").nth(1).press("Enter");
    await outcast.locator(".member-actions .link").nth(2).click();
    await page.locator(".bans li").waitFor();
    await look("bans");
    await tools.nth(0).click();
    await page.locator(".panel input").fill("hello");
    await look("search");
    await page.locator(".panel").press("Escape");
    await page.locator(".me").click();
    await page.locator('dialog input[role="switch"]').check();
    await look("menu");
    await close();
    await gone();
    await page.locator(".drawer dd").nth(8).waitFor();
    await look("drawer");
    await page.locator(".drawer .icon-button").click();
  }

  for (const colorScheme of ["light", "dark"]) {
    test(`axe finds nothing in any state, ${colorScheme}`, async () => {
      const violations = [];
      const look = async (page, state) => {
        // Half-transparent colors of an animation are nobody's lasting view.
        await page.evaluate(() =>
          Promise.all(
            document.getAnimations().map((it) => (it.effect.getTiming().iterations === 1 ? it.finished.catch(() => {}) : it.cancel())),
          ),
        );
        const result = await new AxeBuilder({ page }).analyze();
        for (const { id, nodes } of result.violations) violations.push(`${state}: ${id}: ${nodes.map((node) => node.html).join("\n  ")}`);
      };
      const context = await browser.newContext({ colorScheme, locale: "en-US" });
      const start = await context.newPage();
      await start.goto(cluster.nodes[0].url);
      await start.getByLabel("User name").fill("not a name");
      await start.keyboard.press("Enter");
      await look(start, "login by name");
      await start.getByRole("button", { name: "Sign in with a code" }).click();
      await look(start, "login by code");
      await start.getByLabel("Mail address or phone number").fill("nobody");
      await start.keyboard.press("Enter");
      await start.getByRole("alert").waitFor();
      await look(start, "a login that failed");
      await context.close();

      const one = await person(browser, cluster.nodes[0], `axe-${colorScheme}`, { colorScheme, reducedMotion: "reduce" });
      await walk(one.page, (state) => look(one.page, state));
      await cutOff(one.page);
      await one.page.locator("[data-banner]").waitFor();
      await say(one.page, "offline");
      await look(one.page, "banner");
      assert.deepEqual(one.faults, []);
      await one.close();
      const phone = await person(browser, cluster.nodes[1], "guest", {
        colorScheme,
        reducedMotion: "reduce",
        viewport: { width: 390, height: 800 },
      });
      await phone.page.locator("a.row").first().waitFor();
      await look(phone.page, "inbox on a phone");
      await phone.page.locator("a.row").first().click();
      await message(phone.page, "Hello").first().waitFor();
      await look(phone.page, "chat on a phone");
      await phone.close();
      assert.deepEqual(violations, []);
    });
  }

  test("by keyboard alone: log in, open, send, react, leave", async () => {
    const { page, faults, close } = await person(browser, cluster.nodes[0], "keys");
    const reach = async (selector) => {
      for (let i = 0; i < 80; i++) {
        if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
        await page.keyboard.press("Tab");
      }
      assert.fail(`Tab does not reach ${selector}`);
    };
    await reach('button[aria-label="New chat"]');
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await reach('input[name="kind"]');
    await page.keyboard.press("ArrowRight");
    await reach('input[name="kind"][value="group"]');
    await page.keyboard.press("Tab");
    await page.keyboard.type("Keys");
    await page.keyboard.press("Enter");
    await page.locator(".composer").waitFor();
    await reach(".composer textarea");
    await page.keyboard.type("by keyboard");
    await page.keyboard.press("Enter");
    await page.keyboard.type("another");
    await page.keyboard.press("Enter");
    await page.locator("article.message[data-s]", { hasText: "another" }).waitFor();
    await page.keyboard.press("Shift+Tab");
    for (let i = 0; i < 20 && !(await page.evaluate(() => document.activeElement?.matches("article.message"))); i++)
      await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("ArrowUp");
    assert.match(await page.evaluate(() => document.activeElement?.textContent), /by keyboard/);
    await page.keyboard.press("+");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.type("tada");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "🎉, 1 reaction: You" }).waitFor();
    await reach('.room button[aria-label="Details"]');
    await page.keyboard.press("Enter");
    await page.locator(".panel").waitFor();
    await reach(".panel .button.danger");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await reach("dialog .button.danger");
    await page.keyboard.press("Enter");
    await page.getByText("Choose a chat").waitFor();
    await page.locator("a.row", { hasText: "Keys" }).waitFor({ state: "detached" });
    assert.deepEqual(faults, []);
    await close();
  });

  test("no text stands beside the catalogues", async () => {
    const { page, close } = await person(browser, cluster.nodes[0], "pseudo", { query: "?locale=pseudo" });
    const bare = new Set();
    await walk(page, async (state) => {
      const found = await page.evaluate(() => {
        const texts = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        for (let node = walker.nextNode(); node; node = walker.nextNode()) {
          const place = node.parentElement;
          // Words of people, ids and times are no texts of the page.
          if (place.closest('[translate="no"], time, noscript, .emoji, .emoji-grid, .reaction') || !/\p{L}/u.test(node.data)) continue;
          if (!/⟦.*⟧/su.test(place.textContent)) texts.push(node.data);
        }
        for (const place of document.querySelectorAll("[aria-label], [title], [placeholder]")) {
          if (place.closest(".emoji-grid, .room[aria-label]") === place || place.matches(".emoji-grid button, time")) continue;
          for (const name of ["aria-label", "title", "placeholder"]) {
            const text = place.getAttribute(name);
            if (text && /\p{L}/u.test(text) && !/⟦.*⟧/su.test(text)) texts.push(`${name}: ${text}`);
          }
        }
        return texts;
      });
      for (const text of found) bare.add(`${state}: ${text}`);
    });
    assert.deepEqual([...bare], []);
    await close();
  });

  test("right to left: the inbox is at the right, and nothing sticks out", async () => {
    const { page, close } = await person(browser, cluster.nodes[0], "rtl", { query: "?dir=rtl" });
    await createGroup(page, "Right to left", ["guest"]);
    await say(page, "شكرا، وصلت الرسالة");
    await say(page, "and one in English");
    await page.locator("article.message[data-s]", { hasText: "English" }).waitFor();
    const [inbox, room] = [await page.locator(".sidebar").boundingBox(), await page.locator(".room").boundingBox()];
    assert.ok(inbox.x > room.x);
    await page.screenshot({ path: ".shots/rtl.png" });
    await page.setViewportSize({ width: 390, height: 800 });
    assert.equal(await page.evaluate(() => document.scrollingElement.scrollWidth), 390);
    await close();
  });

  test("at twice the size everything is within the page", async () => {
    const { page, close } = await person(browser, cluster.nodes[0], "large", {
      viewport: { width: 640, height: 400 },
      deviceScaleFactor: 2,
    });
    await createGroup(page, "Large type", ["guest"]);
    await say(page, "a word of considerable length: ".repeat(10));
    assert.equal(await page.evaluate(() => document.scrollingElement.scrollWidth), 640);
    const field = await page.locator(".composer textarea").boundingBox();
    assert.ok(field.y + field.height <= 400, "the composer is on the screen");
    await page.getByRole("button", { name: "Back to the chats" }).click();
    await openChat(page, "Large type");
    await close();
  });

  test("the page is in German where the browser is", async () => {
    const { page, close } = await person(browser, cluster.nodes[0], "german", { locale: "de-DE" });
    await page.getByRole("button", { name: "Neuer Chat" }).first().waitFor();
    assert.equal(await page.getAttribute("html", "lang"), "de");
    await close();
  });
});
