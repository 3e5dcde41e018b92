// Compares the size of each entry, bundled and minified as an application's build does it, with its budget.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** Bytes after gzip. */
const BUDGETS: Record<string, number> = {
  // The reasons are in docs/decisions/0024-typescript-client.md.
  "dist/index.js": 16_800,
  "dist/indexeddb.js": 3_000,
  "dist/login.js": 1_500,
  "dist/poll.js": 2_500,
  "dist/react.js": 2_000,
  "dist/server.js": 6_000,
  "dist/wire/index.js": 100,
};

let over = false;
for (const [entry, budget] of Object.entries(BUDGETS)) {
  const bundle = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["react"],
    write: false,
  });
  const size = gzipSync(bundle.outputFiles[0]?.contents ?? new Uint8Array(), { level: 9 }).length;
  console.log(`${entry.padEnd(20)} ${String(size).padStart(6)} of ${budget} bytes`);
  over ||= size > budget;
}
if (over) console.error("an entry is over its budget");
process.exitCode = over ? 1 : 0;
