// Writes src/wire/generated.ts and src/wire/rest.ts from the descriptions that `rookery schema` prints.
//
//   ROOKERY_BIN=… npm run generate               writes the files
//   ROOKERY_BIN=… npm run generate -- --check    fails if a file differs from the server's description

import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { binary } from "./node.js";

interface Schema {
  $ref?: string;
  enum?: unknown[];
  oneOf?: Schema[];
  allOf?: Schema[];
  type?: string | string[];
  items?: Schema | Schema[];
  prefixItems?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  description?: string;
}

interface Description {
  components: { schemas: Record<string, Schema>; messages: Record<string, { summary?: string; payload: Schema }> };
}

type Uses = Set<string>;

/** Names of schemas that would hide a name of the language, or mean something else here. */
const RENAMED: Record<string, string> = { Event: "LogEvent" };
const HEAD = (source: string) => `// Generated from the server's ${source} by scripts/generate.ts. Not edited by hand.\n\n`;

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** The TypeScript name of a schema: \`command.Send\` is \`SendCommandFields\`. */
function nameOf(schema: string): string {
  const [part = "", name] = schema.split(".");
  return name ? `${name}${capital(part)}Fields` : (RENAMED[schema] ?? schema);
}

function typeOf(schema: Schema, uses: Uses): string {
  if (schema.$ref) {
    const name = nameOf(schema.$ref.split("/").pop() ?? "");
    uses.add(name);
    return name;
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.oneOf) return unique(schema.oneOf.map((one) => typeOf(one, uses))).join(" | ");
  if (schema.allOf) return schema.allOf.map((one) => grouped(typeOf(one, uses))).join(" & ");
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ ...schema, type }, uses)).join(" | ");
  switch (schema.type) {
    case "string":
    case "boolean":
    case "null":
      return schema.type;
    case "integer":
    case "number":
      return "number";
    case "array": {
      const items = schema.prefixItems ?? schema.items;
      if (Array.isArray(items)) return `[${items.map((item) => typeOf(item, uses)).join(", ")}]`;
      return `${grouped(typeOf(items ?? {}, uses))}[]`;
    }
    case "object":
      return schema.properties ? `{ ${fields(schema, uses, false).join("; ")} }` : record(schema, uses);
    default:
      return "unknown";
  }
}

const record = (schema: Schema, uses: Uses) =>
  `{ [key: string]: ${typeof schema.additionalProperties === "object" ? typeOf(schema.additionalProperties, uses) : "unknown"} }`;
const unique = (values: string[]) => [...new Set(values)];
const grouped = (type: string) => (/[|&]/.test(type) && !/^\{.*\}$/.test(type) ? `(${type})` : type);

function fields(schema: Schema, uses: Uses, documented: boolean): string[] {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const key = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
    const about = documented ? comment(field.description ?? field.oneOf?.find((one) => one.description)?.description, "  ") : "";
    return `${about}${documented ? "  " : ""}${key}${required.has(name) ? "" : "?"}: ${typeOf(field, uses)}`;
  });
}

function comment(text: string | undefined, indent: string): string {
  if (!text) return "";
  const lines = text.trim().split("\n");
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join("\n")}\n${indent} */\n`;
}

function declare(name: string, schema: Schema, uses: Uses): string {
  const about = comment(schema.description, "");
  if (schema.type === "object" && schema.properties) {
    const body = fields(schema, uses, true);
    return `${about}export interface ${name} {\n${body.map((field) => `${field};\n`).join("")}}\n`;
  }
  const type = schema.type === "object" && !schema.additionalProperties ? "object" : typeOf(schema, uses);
  return `${about}export type ${name} = ${type};\n`;
}

/** One message: the envelope with the fields of its schema, which a command has in one object. */
function message(
  key: string,
  { summary, payload }: { summary?: string; payload: Schema },
  uses: Uses,
): { name: string; part: string; text: string } {
  const [part = "", tag = ""] = key.split(".");
  const name = `${capital(tag)}${capital(part)}`;
  const [envelope = {}, ...rest] = payload.allOf ?? [payload];
  const bases = rest.map((one) => typeOf(one, uses)).filter((type) => type !== "OkResponse");
  const head = `export interface ${name}${bases.length > 0 ? ` extends ${bases.join(", ")}` : ""} {\n`;
  return {
    name,
    part,
    text: `${comment(summary, "")}${head}${fields(envelope, uses, true)
      .map((field) => `${field};\n`)
      .join("")}}\n`,
  };
}

function wire(asyncapi: Description): string {
  const uses: Uses = new Set();
  const schemas = Object.entries(asyncapi.components.schemas).map(([name, schema]) => declare(nameOf(name), schema, uses));
  const messages = Object.entries(asyncapi.components.messages).map(([key, value]) => message(key, value, uses));
  const union = (name: string, about: string, part: string) =>
    `/** ${about} */\nexport type ${name} =\n${messages
      .filter((it) => it.part === part)
      .map((it) => `  | ${it.name}`)
      .join("\n")};\n`;
  const unions = [
    union("ClientCommand", "Every command that a client can send.", "command"),
    union("ServerAnswer", "Every answer of the server.", "answer"),
    union("ServerEvent", "Every event that the server pushes.", "event"),
  ];
  return HEAD("AsyncAPI description") + [...schemas, ...messages.map((it) => it.text), ...unions].join("\n");
}

/** What only HTTP has. */
function rest(openapi: Description, asyncapi: Description): string {
  const uses: Uses = new Set();
  const shared = new Set(Object.keys(asyncapi.components.schemas).map(nameOf));
  const own = Object.entries(openapi.components.schemas).filter(([name]) => !shared.has(nameOf(name)));
  const texts = own.map(([name, schema]) => declare(nameOf(name), schema, uses));
  const imported = [...uses].filter((name) => shared.has(name)).sort();
  return `${HEAD("OpenAPI description")}import type { ${imported.join(", ")} } from "./generated.js";\n\n${texts.join("\n")}`;
}

const check = process.argv.includes("--check");
const read = (kind: string) =>
  JSON.parse(execFileSync(binary(), ["schema", kind], { encoding: "utf8", maxBuffer: 64 << 20 })) as Description;
const [asyncapi, openapi] = [read("asyncapi"), read("openapi")];
const texts = { "generated.ts": wire(asyncapi), "rest.ts": rest(openapi, asyncapi) };
let differs = false;
for (const [name, text] of Object.entries(texts)) {
  const path = `src/wire/${name}`;
  if (!check) await writeFile(path, text);
  else if ((await readFile(path, "utf8").catch(() => "")) !== text) {
    console.error(`src/wire/${name} is not the server's description: run \`npm run generate\``);
    differs = true;
  }
}
process.exitCode = differs ? 1 : 0;
