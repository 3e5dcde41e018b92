// Texts of the chat page.

import { translator } from "./core.js";
import de from "./de.json";
import en from "./en.json";

export * from "./core.js";

export type Key = keyof typeof en;
export const { t, has } = translator<Key>({ en, de });
