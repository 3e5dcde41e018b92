// The clients that the documents show, as they stand there.

import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { until } from "./wait.mjs";

/** First JavaScript example of a document, written beside this module so that it finds its packages. */
async function example(document, name) {
  const text = await readFile(path.join(process.env.DOCS, document), "utf8");
  const file = path.join(import.meta.dirname, name);
  await writeFile(file, text.match(/```js\n([^]*?)```/)[1]);
  return file;
}

/** Runs the example, and collects its output. */
function start(file, ...args) {
  const child = spawn(process.execPath, [file, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  child.output = "";
  child.stdout.on("data", (data) => (child.output += data));
  return child;
}

/** Two users talk with the client of docs/actioncable.md. */
export async function actionCable({ address }, run) {
  await talk("actioncable.md", "cable_chat.mjs", [`ws://${address}/cable`], run, "");
}

/** Two users talk with the client of docs/mqtt.md, over TCP and over a WebSocket. */
export async function mqttClient({ address, mqttAddress }, run) {
  await talk("mqtt.md", "mqtt_chat.mjs", [`mqtt://${mqttAddress}`, `ws://${address}/mqtt`], run, "connected");
}

/** Two users talk with the client of a document, each at one of the URLs. It prints `greeting` once it is subscribed. */
async function talk(document, name, urls, run, greeting) {
  const file = await example(document, name);
  const [alice, bob] = [`alice-${run}`, `bob-${run}`];
  const clients = [start(file, urls[0], alice, bob), start(file, urls.at(-1), bob, alice)];
  try {
    await until("both are connected", () => clients.every((client) => client.output.includes(greeting)));
    // Both are subscribed once one's line has reached the other.
    clients[0].stdin.write("hello\n");
    await until("bob reads the first line", () => clients[1].output.includes(`${alice}: hello`));
    clients[1].stdin.write("hi\n");
    await until("alice reads the answer", () => clients[0].output.includes(`${bob}: hi`));
    clients.forEach((client) => client.stdin.end());
    await until("both end with their input", () => clients.every((client) => client.exitCode === 0));
  } finally {
    clients.forEach((client) => client.kill());
  }
}
