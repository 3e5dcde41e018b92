// The clients that the documents show, as they stand there.

import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { until } from "./wait.mjs";

/** First example of a document in a language, written beside this module so that it finds its packages. */
async function example(document, language, name) {
  const text = await readFile(path.join(process.env.DOCS, document), "utf8");
  const file = path.join(import.meta.dirname, name);
  await writeFile(file, text.match(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``))[1]);
  return file;
}

/** Runs the example, and collects its output. */
function start(program, ...args) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  child.output = "";
  child.stdout.on("data", (data) => (child.output += data));
  return child;
}

/** Two users talk: `of(user, peer)` starts the client of one, which prints `greeting` once it is connected. */
async function talk(of, run, greeting = "") {
  const [alice, bob] = [`alice-${run}`, `bob-${run}`];
  const clients = [of(alice, bob), of(bob, alice)];
  try {
    await until("both are connected", () => clients.every((client) => client.output.includes(greeting)));
    // And subscribed once one's line has reached the other.
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

/** The client of docs/actioncable.md. */
export async function actionCable({ address }, run) {
  const file = await example("actioncable.md", "js", "chat.mjs");
  await talk((user, peer) => start(process.execPath, file, `ws://${address}/cable`, user, peer), run);
}

/** The JavaScript client of docs/socketio.md. */
export async function socketIo({ address }, run) {
  const file = await example("socketio.md", "js", "socketio_chat.mjs");
  await talk((user, peer) => start(process.execPath, file, `http://${address}`, user, peer), run, "connected");
}

/** The Python client of docs/socketio.md. */
export async function socketIoPython({ address }, run) {
  const file = await example("socketio.md", "python", "socketio_chat.py");
  await talk((user, peer) => start(process.env.PYTHON, file, `http://${address}`, user, peer), run, "connected");
}

/** The JavaScript client of docs/mqtt.md, one user over TCP and the other over a WebSocket. */
export async function mqttClient({ address, mqttAddress }, run) {
  const file = await example("mqtt.md", "js", "mqtt_chat.mjs");
  const urls = [`mqtt://${mqttAddress}`, `ws://${address}/mqtt`];
  await talk((user, peer) => start(process.execPath, file, urls.shift(), user, peer), run, "connected");
}

/** The Python client of docs/mqtt.md. */
export async function mqttPython({ mqttAddress }, run) {
  const file = await example("mqtt.md", "python", "mqtt_chat.py");
  const [host, port] = mqttAddress.split(":");
  await talk((user, peer) => start(process.env.PYTHON, file, host, port, user, peer), run, "connected");
}
