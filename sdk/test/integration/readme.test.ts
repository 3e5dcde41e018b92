// The quick start of README.md, as it stands there.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";
import { withNode } from "../../scripts/node.js";

test("the quick start of the README runs as shown", { timeout: 300_000 }, async () => {
  await withNode(async (url) => {
    const code = await readFile(".build/snippets/1.js", "utf8");
    const own = code.replace("ws://127.0.0.1:8080", url);
    assert.notEqual(own, code, "the address of the example");
    await writeFile(".build/snippets/quickstart.js", own);
    const { stdout } = await promisify(execFile)(process.execPath, [".build/snippets/quickstart.js"]);
    assert.equal(stdout, "alice: hello\n");
  });
});
