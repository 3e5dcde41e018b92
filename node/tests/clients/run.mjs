// Runs the scenario with stock clients: node run.mjs NAME… Without a name, with all of them.
// BIN: folder of the binary `rookery`. DOCS: folder of the documents. KEEP: folder for data and logs, which then stay.

import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { Cluster, Proxy } from "./cluster.mjs";
import { actionCable, mqttClient, mqttPython, socketIo, socketIoPython } from "./documents.mjs";
import { Scenario } from "./scenario.mjs";

/** Clients by name: the module of the adapter, its class, and what distinguishes this use of it. */
const CLIENTS = {
  native: ["native", "default", {}],
  actioncable: ["actioncable", "default", {}],
  "actioncable-header": ["actioncable", "default", { header: true }],
  "anycable-base": ["anycable", "BaseClient", { header: true }],
  "anycable-extended": ["anycable", "ExtendedClient", {}],
  "anycable-extended-header": ["anycable", "ExtendedClient", { header: true }],
  "socketio-websocket": ["socketio", "default", { transports: ["websocket"] }],
  "socketio-polling": ["socketio", "default", { transports: ["polling"] }],
  "socketio-upgrade": ["socketio", "default", { transports: ["polling", "websocket"] }],
  "mqtt-3-tcp": ["mqtt", "default", { version: 4, tcp: true }],
  "mqtt-3-websocket": ["mqtt", "default", { version: 4 }],
  "mqtt-5-tcp": ["mqtt", "default", { version: 5, tcp: true }],
  "mqtt-5-websocket": ["mqtt", "default", { version: 5 }],
};

/** Examples of the documents by name. */
const EXAMPLES = {
  "docs-actioncable": actionCable,
  "docs-socketio": socketIo,
  "docs-socketio-python": socketIoPython,
  "docs-mqtt": mqttClient,
  "docs-mqtt-python": mqttPython,
};

const known = [...Object.keys(CLIENTS), ...Object.keys(EXAMPLES)];
const names = process.argv.slice(2);
for (const name of names) {
  if (!known.includes(name)) throw new Error(`unknown client ${name}; known: ${known.join(", ")}`);
}

const dir = process.env.KEEP ?? (await mkdtemp(path.join(os.tmpdir(), "rookery-clients-")));
const cluster = await Cluster.start(process.env.BIN, path.join(dir, "cluster"), 3);
const proxy = await Proxy.start(cluster);
let failed = 0;
try {
  for (const name of names.length > 0 ? names : known) {
    const began = Date.now();
    try {
      await (EXAMPLES[name] ? EXAMPLES[name](proxy, randomUUID().slice(0, 8)) : play(...CLIENTS[name]));
      console.log(`${name}: ${Math.round((Date.now() - began) / 1_000)} s`);
    } catch (error) {
      failed += 1;
      console.error(`${name} failed:`, error);
      await cluster.mend();
    }
  }
} finally {
  proxy.stop();
  await cluster.stop();
}
failed += await complaints();
if (!process.env.KEEP) await rm(dir, { recursive: true });
process.exit(failed === 0 ? 0 : 1);

async function play(module, type, options) {
  const { [type]: Client } = await import(`./adapters/${module}.mjs`);
  const scenario = new Scenario(cluster, proxy, Client, options);
  try {
    await scenario.play();
  } catch (error) {
    scenario.notes().forEach((notes) => console.error(`  ${notes}`));
    throw error;
  } finally {
    scenario.close();
  }
}

/** Counts the panics in the logs of the nodes. A killed node may warn, and its neighbours about it. */
async function complaints() {
  let found = 0;
  for (const file of await readdir(dir, { recursive: true })) {
    if (!file.endsWith(".log")) continue;
    const lines = (await readFile(path.join(dir, file), "utf8")).split("\n").filter((line) => line.includes("panicked"));
    lines.forEach((line) => console.error(`${file}: ${line}`));
    found += lines.length;
  }
  return found;
}
