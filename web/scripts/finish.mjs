// The last step of the build: what the node embeds. It compresses each file, lists the files for the Rust compiler, collects
// the licences of the packages in the bundle, and checks all sizes.

import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const out = process.env.OUT ?? "dist";

/** The pages: the path and name for the node, and the bytes after gzip that their scripts and styles may have. */
const PAGES = {
  "index.html": { path: "/", name: "Chat", limit: 60_000 },
  "console.html": { path: "/console", name: "Console", limit: 45_000 },
};
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
  `The chat page and the console of Rookery contain these packages.\n\n${licences.join(`\n${"-".repeat(72)}\n\n`)}`,
);

// === compressed copies, and the table of files ===

const names = readdirSync(out, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(out.length + 1))
  .sort();
const read = (name) => readFileSync(join(out, name), "utf8");
/** The files that a page loads: those that its HTML and its scripts and styles name. */
function loadedBy(name, found = new Set()) {
  for (const other of names) {
    if (!found.has(other) && read(name).includes(other.slice(other.lastIndexOf("/") + 1)) && !(other in PAGES)) {
      found.add(other);
      if (/\.(js|css)$/.test(other)) loadedBy(other, found);
    }
  }
  return found;
}
const loaded = Object.fromEntries(Object.keys(PAGES).map((page) => [page, loadedBy(page).add(page)]));

const sizes = { raw: 0, embedded: 0 };
const compressed = {};
const rows = names.map((name) => {
  const text = readFileSync(join(out, name));
  const gzip = gzipSync(text, { level: 9 });
  const brotli = brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: text.length } });
  writeFileSync(join(out, `${name}.gz`), gzip);
  writeFileSync(join(out, `${name}.br`), brotli);
  sizes.raw += text.length;
  compressed[name] = gzip.length;
  // Every browser takes compressed files; only what a person fetches by hand is embedded as it is, too.
  const hashed = name.startsWith("assets/");
  sizes.embedded += (hashed ? 0 : text.length) + gzip.length + brotli.length;
  const type = TYPES[name.slice(name.lastIndexOf(".") + 1)] ?? fail(`no content type for ${name}`);
  const pages = Object.keys(PAGES).filter((page) => loaded[page].has(name));
  // The licences belong to both pages.
  if (pages.length === 0 && name !== "THIRD-PARTY.txt") fail(`no page loads ${name}`);
  const users = (pages.length > 0 ? pages : Object.keys(PAGES)).map((page) => `EmbeddedPage::${PAGES[page].name}`);
  return `    PageFile {
        path: "${PAGES[name]?.path ?? `/${name}`}",
        pages: &[${users.join(", ")}],
        content_type: "${type}",
        identity: ${hashed ? "None" : `Some(include_bytes!("${name}"))`},
        gzip: include_bytes!("${name}.gz"),
        brotli: include_bytes!("${name}.br"),
    },`;
});
writeFileSync(join(out, "files.inc"), `// Written by web/scripts/finish.mjs.\n&[\n${rows.join("\n")}\n]\n`);

// === sizes ===

const scripts = Object.entries(PAGES).map(([page, { name, limit }]) => {
  const files = [...loaded[page]].filter((file) => /\.(js|css)$/.test(file));
  return [`${name}: scripts and styles, gzip`, files.reduce((sum, file) => sum + compressed[file], 0), limit];
});
for (const [name, size, limit] of [...scripts, ["all files", sizes.raw, RAW], ["embedded", sizes.embedded, EMBEDDED]]) {
  console.log(`${name.padEnd(34)} ${String(size).padStart(7)} of ${limit} bytes`);
  if (size > limit) fail(`${name}: over the budget`);
}
