// The refresh of tokens: one at a time, stored before it is used, repeated while no answer comes.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memory } from "../../src/index.js";
import { Login, type LoginOptions } from "../../src/login.js";
import { FakeLocks } from "./browser.js";

type Answer = [number, object] | "lost";

/** A server that answers in turn, and notes what it was asked. */
function server(...answers: Answer[]): { fetch: typeof fetch; asked: { path: string; body: Record<string, unknown> }[] } {
  const asked: { path: string; body: Record<string, unknown> }[] = [];
  const answering = async (url: string | URL | Request, init?: RequestInit) => {
    asked.push({ path: String(url).replace(/.*\/v1\/auth\//, ""), body: JSON.parse(String(init?.body)) });
    const answer = answers.shift();
    if (!answer || answer === "lost") throw new TypeError("network");
    return new Response(answer[0] === 204 ? null : JSON.stringify(answer[1]), { status: answer[0] });
  };
  return { fetch: answering as typeof fetch, asked };
}

const pair = (n: number): Answer => [
  200,
  { access_token: `a${n}`, refresh_token: `r${n}`, expires_in: 900, token_type: "Bearer", user: "u_1" },
];

async function loggedIn(
  options: Partial<LoginOptions>,
  ...answers: Answer[]
): Promise<{ login: Login; asked: ReturnType<typeof server>["asked"]; options: LoginOptions }> {
  const { fetch, asked } = server(pair(1), ...answers);
  const all: LoginOptions = { url: "https://node/", store: memory(), fetch, ...options };
  const login = new Login(all);
  assert.equal(await login.verify("c", "123456"), "u_1");
  return { login, asked, options: all };
}

describe("login", () => {
  test("the first token is the stored one, the next is refreshed", async () => {
    const { login, asked } = await loggedIn({}, pair(2));
    assert.equal(await login.token({ reason: "first" }), "a1");
    assert.equal(await login.token({ reason: "expiring" }), "a2");
    assert.deepEqual(
      asked.map((it) => it.path),
      ["otp/verify", "refresh"],
    );
    assert.equal(asked[1]?.body.refresh_token, "r1");
  });

  test("two tabs at the end of a token make one refresh", async () => {
    const { login, asked, options } = await loggedIn({ locks: new FakeLocks() }, pair(2));
    const other = new Login(options);
    await login.token({ reason: "first" });
    await other.token({ reason: "first" });
    const both = await Promise.all([login.token({ reason: "expiring" }), other.token({ reason: "expiring" })]);
    assert.deepEqual(both, ["a2", "a2"]);
    assert.equal(asked.filter((it) => it.path === "refresh").length, 1);
  });

  test("a lost answer is asked for again with the same token", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { login, asked } = await loggedIn({}, "lost", pair(2));
    const token = login.token({ reason: "expiring" });
    while (asked.length < 3) {
      t.mock.timers.tick(2_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(await token, "a2");
    assert.deepEqual(
      asked.slice(1).map((it) => it.body.refresh_token),
      ["r1", "r1"],
    );
  });

  test("a refused refresh ends the login, a refusal for now does not", async () => {
    const { login } = await loggedIn({}, [503, { code: "unavailable", detail: "later" }], [401, { code: "unauthenticated", detail: "no" }]);
    await assert.rejects(login.token({ reason: "expiring" }), { name: "LoginError", code: "unavailable" });
    assert.equal(await login.user(), "u_1");
    await assert.rejects(login.token({ reason: "expiring" }), { name: "Unauthorized" });
    assert.equal(await login.user(), undefined);
    await assert.rejects(login.token({ reason: "first" }), { name: "Unauthorized" });
  });

  test("logging out forgets the tokens first", async () => {
    const { login, asked } = await loggedIn({}, [204, {}]);
    await login.logout({ everywhere: true });
    assert.equal(await login.user(), undefined);
    assert.deepEqual(asked[1], { path: "logout", body: { refresh_token: "r1", everywhere: true } });
  });
});
