// Checks the catalogues of texts: the same keys and the same parameters in each, and no key that nothing uses.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const read = (name) => JSON.parse(readFileSync(`src/i18n/${name}.json`, "utf8"));
const catalogues = { en: read("en"), de: read("de") };
const faults = [];

const forms = (entry) => (typeof entry === "string" ? [entry] : Object.values(entry));
const parameters = (entry) => [...new Set(forms(entry).flatMap((text) => text.match(/\{\w+\}/g) ?? []))].sort().join();

for (const [name, catalogue] of Object.entries(catalogues)) {
  for (const [key, entry] of Object.entries(catalogue)) {
    const base = catalogues.en[key];
    if (base === undefined) faults.push(`${name} has ${key}, which en lacks`);
    else if (parameters(base) !== parameters(entry)) faults.push(`${key} has other parameters in ${name}`);
    if (forms(entry).some((text) => text.trim() === "")) faults.push(`${key} is empty in ${name}`);
    if (typeof entry !== "string" && !(entry.one && entry.other)) faults.push(`${key} lacks a form in ${name}`);
  }
  for (const key of Object.keys(catalogues.en)) if (!(key in catalogue)) faults.push(`${name} lacks ${key}`);
}

const sources = readdirSync("src", { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
  .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
  .join("\n");
const literal = new Set([...sources.matchAll(/"([a-z]+(?:[.-][a-z-]+)+)"/g)].map((match) => match[1]));
// `state.${state}` and the like.
const patterns = [...sources.matchAll(/`([a-z.]*\$\{\w+\}[a-z.]*)`/g)].map(
  (match) => new RegExp(`^${match[1].replaceAll(".", "\\.").replace(/\$\{\w+\}/, "[a-z_]+")}$`),
);
for (const key of Object.keys(catalogues.en)) {
  if (!literal.has(key) && !patterns.some((pattern) => pattern.test(key))) faults.push(`nothing uses ${key}`);
}

for (const fault of faults) console.error(`web: ${fault}`);
if (faults.length === 0) console.log(`${Object.keys(catalogues.en).length} texts in ${Object.keys(catalogues).join(", ")}`);
process.exitCode = faults.length > 0 ? 1 : 0;
