// A drain from the console while the load harness judges every message: the node ends drained, nothing is lost, and the
// failovers name each shard that moved.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { eventually, launch, startCluster } from "./support.mjs";

/** Starts the load harness against the nodes; it ends with 0 only if every promise was kept. */
function startLoad(nodes) {
  const addresses = nodes.map(({ url }) => new URL(url).host).join();
  const harness = join(dirname(process.env.ROOKERY_BIN), "rookery-loadtest");
  // Slower than the limits for people, which the cluster has.
  const args = ["run", "groups", "--nodes", addresses, "-p", "groups=6", "-p", "members=4", "--rate", "40", "--duration", "60s"];
  const child = spawn(harness, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += String(chunk);
    });
  }
  return { child, output: () => output };
}

async function shardsOf(node, url) {
  const overview = await (await fetch(`${url}/v1/admin/overview`)).json();
  return [...overview.shards, overview.meta].filter(({ owner }) => owner === node).map(({ shard }) => shard);
}

test("a drain under load loses nothing, and the failovers name each shard that moved", { timeout: 600_000 }, async () => {
  const cluster = await startCluster();
  const browser = await launch();
  const { child, output } = startLoad(cluster.nodes);
  try {
    const [first, second] = cluster.nodes;
    const own = await browser.newContext({ viewport: { width: 1_280, height: 800 }, locale: "en-US" });
    const page = await own.newPage();
    const faults = [];
    page.on("pageerror", (error) => faults.push(error.message));
    await page.goto(`${first.url}/console`);
    const sends = page.locator('[data-figure="sends"] .value');
    await eventually(async () => Number((await sends.textContent()).replaceAll(",", "")) > 5, "the load in the figures");
    const moved = await shardsOf(second.id, first.url);
    assert.ok(moved.length > 0, "node 2 owns shards");

    await page.getByRole("navigation").getByRole("link", { name: "Nodes" }).click();
    await page.locator(`tr[data-node="${second.id}"]`).getByRole("button", { name: "Drain" }).click();
    await page.locator('[data-verdict="permitted"]').waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
    await page.locator(`tr[data-node="${second.id}"][data-state="drained"]`).waitFor({ timeout: 120_000 });

    await page.getByRole("navigation").getByRole("link", { name: "Failovers" }).click();
    await eventually(async () => {
      await page.getByRole("button", { name: "Refresh" }).click();
      const rows = page.locator(`tr[data-from="${second.id}"][data-why="drained"]`);
      const found = await rows.evaluateAll((all) =>
        all.map((row) => [Number(row.dataset.failover), row.querySelectorAll("td")[4].textContent]),
      );
      const timed = new Set(found.filter(([, gap]) => /^[\d,]+ ms$/.test(gap)).map(([shard]) => shard));
      return moved.every((shard) => timed.has(shard));
    }, "each shard that moved, with its milliseconds");
    assert.match(await page.locator("[data-longest]").textContent(), /failovers?\. The longest gap was [\d,]+ ms/);
    const saving = page.waitForEvent("download");
    await page.getByRole("button", { name: "Save as JSON" }).click();
    assert.equal((await saving).suggestedFilename(), "failovers.json");
    await page.screenshot({ path: ".shots/failovers.png" });
    assert.deepEqual(faults, []);

    const [code] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
    assert.equal(code, 0, output());
    await own.close();
  } finally {
    child.kill();
    await browser.close();
    await cluster.stop();
  }
});
