// The question for the token of an operator.

import { useState } from "preact/hooks";
import { Field } from "../../ui/controls.js";
import { t } from "../i18n/index.js";
import { type ApiError, hasToken, setToken } from "../model/api.js";
import { reasonOf } from "./format.js";

export function TokenView({ refusal }: { refusal: ApiError }) {
  const [text, setText] = useState("");
  // Without a token the refusal says no more than the question.
  const failure = hasToken() || refusal.status === 403 ? t("token.refused", { reason: reasonOf(refusal) }) : undefined;
  return (
    <main class="login">
      <div class="card">
        <h1>{t("token.title")}</h1>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (text.trim()) setToken(text.trim());
          }}
        >
          <Field
            label={t("token.label")}
            value={text}
            onInput={setText}
            hint={t("token.hint")}
            secret
            focus
            {...(failure ? { error: failure } : {})}
          />
          <button type="submit" class="button primary wide">
            {t("token.enter")}
          </button>
        </form>
      </div>
    </main>
  );
}
