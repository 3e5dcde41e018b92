// Writes the TypeScript of README.md into .build/snippets and compiles it against the built package, as a reader would.

import { execFileSync } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";

const folder = ".build/snippets";
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const text = await readFile("README.md", "utf8");
let count = 0;
for (const [, kind, code = ""] of text.matchAll(/^```(tsx?)\b[^\n]*\n(.*?)^```/gms)) await writeFile(`${folder}/${++count}.${kind}`, code);
if (count === 0) throw new Error("README.md has no snippets");
const options = {
  extends: "../../tsconfig.json",
  compilerOptions: { rootDir: ".", outDir: ".", isolatedDeclarations: false, declaration: false, noUnusedLocals: false, sourceMap: false },
  include: ["*.ts", "*.tsx"],
  exclude: [],
};
await writeFile(`${folder}/tsconfig.json`, JSON.stringify(options));
execFileSync("npx", ["tsc", "-p", folder], { stdio: "inherit" });
console.log(`${count} snippets compile`);
