import { defineConfig } from "vite";

const from = (path: string): string => new URL(path, import.meta.url).pathname;
/** The node behind the development server: `NODE=http://127.0.0.1:8080 npm run dev`. */
const node = process.env.NODE ?? "http://127.0.0.1:8080";

export default defineConfig({
  resolve: {
    alias: [
      { find: /^@rookery\/client$/, replacement: from("../sdk/src/index.ts") },
      { find: /^@rookery\/client\/(.*)$/, replacement: from("../sdk/src/$1.ts") },
      // The hooks of the client are written for React.
      { find: "react", replacement: from("node_modules/preact/compat/dist/compat.mjs") },
    ],
    dedupe: ["preact"],
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    outDir: process.env.OUT ?? "dist",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: { index: from("index.html"), console: from("console.html") } },
    license: { fileName: "third-party.json" },
  },
  server: { proxy: { "/v1": { target: node, ws: true }, "/config.json": node } },
  test: { include: ["test/unit/**/*.test.ts"] },
} as never);
