// Checks the catalogues of texts, those of each page and those of both: the same keys and the same parameters in each
// language, and no key that nothing uses.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The catalogues, and the sources that use them. */
const parts = [
  { name: "chat", folder: "src/i18n", sources: (path) => !path.startsWith("src/console") },
  { name: "console", folder: "src/console/i18n", sources: (path) => path.startsWith("src/console") },
  { name: "shared", folder: "src/i18n/shared", sources: () => true },
];
const faults = [];
const counts = [];

const forms = (entry) => (typeof entry === "string" ? [entry] : Object.values(entry));
const parameters = (entry) => [...new Set(forms(entry).flatMap((text) => text.match(/\{\w+\}/g) ?? []))].sort().join();

const files = readdirSync("src", { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
  .map((entry) => join(entry.parentPath, entry.name));

for (const { name: part, folder, sources } of parts) {
  const read = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));
  const catalogues = { en: read("en"), de: read("de") };
  const complain = (fault) => faults.push(`${part}: ${fault}`);
  for (const [name, catalogue] of Object.entries(catalogues)) {
    for (const [key, entry] of Object.entries(catalogue)) {
      const base = catalogues.en[key];
      if (base === undefined) complain(`${name} has ${key}, which en lacks`);
      else if (parameters(base) !== parameters(entry)) complain(`${key} has other parameters in ${name}`);
      if (forms(entry).some((text) => text.trim() === "")) complain(`${key} is empty in ${name}`);
      if (typeof entry !== "string" && !(entry.one && entry.other)) complain(`${key} lacks a form in ${name}`);
    }
    for (const key of Object.keys(catalogues.en)) if (!(key in catalogue)) complain(`${name} lacks ${key}`);
  }

  const used = files
    .filter((path) => sources(path))
    .map((path) => readFileSync(path, "utf8"))
    .join("\n");
  const literal = new Set([...used.matchAll(/"([a-z]+(?:[.-][a-z-]+)+)"/g)].map((match) => match[1]));
  // `state.${state}` and the like.
  const patterns = [...used.matchAll(/`([a-z.]*\$\{\w+\}[a-z.]*)`/g)].map(
    (match) => new RegExp(`^${match[1].replaceAll(".", "\\.").replace(/\$\{\w+\}/, "[a-z_]+")}$`),
  );
  for (const key of Object.keys(catalogues.en)) {
    if (!literal.has(key) && !patterns.some((pattern) => pattern.test(key))) complain(`nothing uses ${key}`);
  }
  counts.push(`${Object.keys(catalogues.en).length} for ${part}`);
}

for (const fault of faults) console.error(`web: ${fault}`);
if (faults.length === 0) console.log(`texts: ${counts.join(", ")}`);
process.exitCode = faults.length > 0 ? 1 : 0;
