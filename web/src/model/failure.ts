// The reason of a refusal in the language of the page.

import { has, t } from "../i18n/index.js";

export function reasonOf(failure: unknown): string {
  const { code, msg, message } = failure as { code?: string; msg?: string; message?: string };
  const key = `error.${code}`;
  if (has(key)) return t(key);
  return failure instanceof TypeError ? t("error.network") : (msg ?? message ?? String(code));
}
