// Compares two builds: `compare.mjs DIST OTHER`. Compressed copies are compared by their content, because their bytes
// depend on the libraries of the Node that made them.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";

const [one, other] = process.argv.slice(2);
const files = (folder) => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
const names = (folder) =>
  files(folder)
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
const content = (folder, name) => {
  const bytes = readFileSync(join(folder, name));
  if (name.endsWith(".gz")) return gunzipSync(bytes);
  return name.endsWith(".br") ? brotliDecompressSync(bytes) : bytes;
};

const here = names(one);
const different = [
  ...here.filter((name) => !names(other).includes(name)),
  ...names(other).filter((name) => !here.includes(name)),
  ...here.filter((name) => names(other).includes(name) && !content(one, name).equals(content(other, name))),
];
// A copy that is no compression of its file would pass as the same in both.
const broken = here.filter((name) => /\.(gz|br)$/.test(name) && !content(one, name).equals(content(one, name.slice(0, -3))));
for (const name of different) console.error(`web: ${name} is not what the sources make`);
for (const name of broken) console.error(`web: ${name} is no copy of its file`);
process.exitCode = different.length + broken.length > 0 ? 1 : 0;
if (!process.exitCode) console.log(`${here.length} files are what the sources make`);
