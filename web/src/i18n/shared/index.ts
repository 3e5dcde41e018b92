// Texts of the controls that both pages use.

import { translator } from "../core.js";
import de from "./de.json";
import en from "./en.json";

export const { t } = translator<keyof typeof en>({ en, de });
