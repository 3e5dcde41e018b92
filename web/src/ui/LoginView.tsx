// The login: a name in development, or a one-time code.

import type { Login } from "@rookery/client/login";
import { useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import type { PageConfig } from "../model/config.js";
import { reasonOf } from "../model/failure.js";
import { enterAs, enterWith, lastUser, makeLogin } from "../model/session.js";
import { Field } from "./parts.js";

const USER = /^[A-Za-z0-9_.@+-]{1,64}$/;

export function LoginView({ config }: { config: PageConfig }) {
  const [byCode, setByCode] = useState(!config.dev_tokens);
  const both = config.dev_tokens && config.login;
  return (
    <main class="login">
      <div class="card">
        <img class="logo" src={new URL("../icon.svg", import.meta.url).href} alt="" />
        <h1>{t("login.title")}</h1>
        <p class="lead">{t("login.lead")}</p>
        {byCode ? config.login ? <CodeForm config={config} /> : <p>{t("login.closed")}</p> : <NameForm config={config} />}
        {both && (
          <button type="button" class="link" onClick={() => setByCode(!byCode)}>
            {byCode ? t("login.with-name") : t("login.with-code")}
          </button>
        )}
      </div>
    </main>
  );
}

function NameForm({ config }: { config: PageConfig }) {
  const [user, setUser] = useState(lastUser);
  const [error, setError] = useState<string>();
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (USER.test(user.trim())) enterAs(config, user.trim());
        else setError(t("login.user.invalid"));
      }}
    >
      <Field
        label={t("login.user")}
        value={user}
        onInput={setUser}
        hint={t("login.user.hint")}
        autoComplete="username"
        focus
        {...(error ? { error } : {})}
      />
      <button type="submit" class="button primary wide">
        {t("login.enter")}
      </button>
    </form>
  );
}

function CodeForm({ config }: { config: PageConfig }) {
  const [to, setTo] = useState("");
  const [code, setCode] = useState("");
  const [sent, setSent] = useState<{ login: Login; challenge: string; dev: boolean }>();
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const attempt = async (work: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    try {
      await work();
    } catch (failure) {
      setError(t("login.failed", { reason: reasonOf(failure) }));
    }
    setBusy(false);
  };
  const request = () =>
    attempt(async () => {
      const login = makeLogin(config);
      const { challenge, dev_code } = await login.requestCode(to.trim());
      setCode(dev_code ?? "");
      setSent({ login, challenge, dev: Boolean(dev_code) });
    });
  const verify = (done: NonNullable<typeof sent>) =>
    attempt(async () => {
      const user = await done.login.verify(done.challenge, code.trim());
      enterWith(config, user, done.login);
    });
  const shown = error ? { error } : {};
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void (sent ? verify(sent) : request());
      }}
    >
      {sent ? (
        <>
          <p>{t("login.code.sent", { to })}</p>
          <Field
            key="code"
            label={t("login.code")}
            value={code}
            onInput={setCode}
            autoComplete="one-time-code"
            inputMode="numeric"
            focus
            {...(sent.dev ? { hint: t("login.code.dev") } : {})}
            {...shown}
          />
        </>
      ) : (
        <Field key="to" label={t("login.address")} value={to} onInput={setTo} autoComplete="email" focus {...shown} />
      )}
      <button type="submit" class="button primary wide" disabled={busy}>
        {sent ? t("login.verify") : t("login.send-code")}
      </button>
      {sent && (
        <button type="button" class="link" onClick={() => setSent(undefined)}>
          {t("login.other-address")}
        </button>
      )}
    </form>
  );
}
