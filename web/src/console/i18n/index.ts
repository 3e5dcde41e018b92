// Texts of the console.

import { translator } from "../../i18n/core.js";
import de from "./de.json";
import en from "./en.json";

export type Key = keyof typeof en;
export const { t, has } = translator<Key>({ en, de });
