// The last step of the build: what the node embeds. It compresses each file, lists the files for the Rust compiler, collects
// the licences of the packages in the bundle, and checks all sizes.

import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const out = process.env.OUT ?? "dist";

/** Bytes after gzip of what the chat page loads. */
const LOADED = 60_000;
/** Bytes of all files as they are. */
const RAW = 250_000;
/** Bytes that the binary of the node grows by. */
const EMBEDDED = 300_000;
const TYPES = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
};

function fail(message) {
  console.error(`web: ${message}`);
  process.exit(1);
}

// === licences ===

const allowed =
  readFileSync("../deny.toml", "utf8")
    .match(/allow = \[([^\]]*)\]/)?.[1]
    .match(/[A-Za-z][\w.-]+/g) ?? [];
const packages = JSON.parse(readFileSync(join(out, "third-party.json"), "utf8"));
rmSync(join(out, "third-party.json"));
packages.sort((a, b) => (a.name < b.name ? -1 : 1));
for (const { name, identifier, text } of packages) {
  if (!allowed.includes(identifier)) fail(`the licence of ${name} is ${identifier}, which deny.toml does not list`);
  if (!text) fail(`${name} comes without the text of its licence`);
}
const licences = packages.map(({ name, version, identifier, text }) => `${name} ${version} (${identifier})\n\n${text.trim()}\n`);
writeFileSync(
  join(out, "THIRD-PARTY.txt"),
  `The chat page of Rookery contains these packages.\n\n${licences.join(`\n${"-".repeat(72)}\n\n`)}`,
);

// === compressed copies, and the table of files ===

const names = readdirSync(out, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(out.length + 1))
  .sort();
const sizes = { raw: 0, embedded: 0, loaded: 0 };
const rows = names.map((name) => {
  const text = readFileSync(join(out, name));
  const gzip = gzipSync(text, { level: 9 });
  const brotli = brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: text.length } });
  writeFileSync(join(out, `${name}.gz`), gzip);
  writeFileSync(join(out, `${name}.br`), brotli);
  sizes.raw += text.length;
  // Every browser takes compressed files; only what a person fetches by hand is embedded as it is, too.
  const hashed = name.startsWith("assets/");
  sizes.embedded += (hashed ? 0 : text.length) + gzip.length + brotli.length;
  if (/\.(js|css)$/.test(name)) sizes.loaded += gzip.length;
  const type = TYPES[name.slice(name.lastIndexOf(".") + 1)] ?? fail(`no content type for ${name}`);
  return `    PageFile {
        path: "${name === "index.html" ? "/" : `/${name}`}",
        content_type: "${type}",
        identity: ${hashed ? "None" : `Some(include_bytes!("${name}"))`},
        gzip: include_bytes!("${name}.gz"),
        brotli: include_bytes!("${name}.br"),
    },`;
});
writeFileSync(join(out, "files.inc"), `// Written by web/scripts/finish.mjs.\n&[\n${rows.join("\n")}\n]\n`);

// === sizes ===

for (const [name, size, limit] of [
  ["scripts and styles, gzip", sizes.loaded, LOADED],
  ["all files", sizes.raw, RAW],
  ["embedded", sizes.embedded, EMBEDDED],
]) {
  console.log(`${name.padEnd(24)} ${String(size).padStart(7)} of ${limit} bytes`);
  if (size > limit) fail(`${name}: over the budget`);
}
