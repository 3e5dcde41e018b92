// Reads an AsyncAPI document with the parser of the specification: node asyncapi.mjs FILE
// Errors and warnings fail; a hint, such as that a newer version of the specification exists, does not.

import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const WARNING = 1;
const [, , file] = process.argv;
const { document, diagnostics } = await new Parser().parse(await readFile(file, "utf8"));
const found = diagnostics.filter(({ severity }) => severity <= WARNING);
for (const { code, path, message } of found) console.error(`${path.join(".")}: ${message} (${code})`);
if (document === undefined || found.length > 0) process.exit(1);
console.log(`asyncapi: ${document.allMessages().length} messages, ${document.allOperations().length} operations`);
