import { defineConfig } from "tsdown";

export default defineConfig({
  entry: [
    "src/index.ts",
    "src/indexeddb.ts",
    "src/login.ts",
    "src/poll.ts",
    "src/react.ts",
    "src/server.ts",
    "src/testing/index.ts",
    "src/wire/index.ts",
  ],
  format: ["esm", "cjs"],
  platform: "neutral",
  target: "es2022",
  dts: true,
  sourcemap: false,
});
