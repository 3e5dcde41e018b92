// Settings of the page, and the way out.

import { useStatus } from "@rookery/client/react";
import { useState } from "preact/hooks";
import { LOCALES, locale, setLocale, t } from "../i18n/index.js";
import { reasonOf } from "../model/failure.js";
import { ownName, readName, type Session, signOut } from "../model/session.js";
import { THEMES, theme } from "../model/theme.js";
import { dialog, drawer } from "../model/view.js";
import { Avatar, Dialog, Field } from "./parts.js";

function NameForm({ session }: { session: Session }) {
  const known = ownName.value ?? "";
  const [name, setName] = useState(known);
  const [failure, setFailure] = useState<string>();
  const save = async () => {
    setFailure(undefined);
    try {
      await readName(session.chat, { name: name.trim() || null });
    } catch (error) {
      setFailure(t("menu.name.failed", { reason: reasonOf(error) }));
    }
  };
  return (
    <form
      class="with-button"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <Field label={t("menu.name")} value={name} onInput={setName} {...(failure ? { error: failure } : {})} />
      <button type="submit" class="button" disabled={name.trim() === known}>
        {t("menu.name.save")}
      </button>
    </form>
  );
}

export function MenuDialog({ session }: { session: Session }) {
  const { store } = useStatus();
  const close = () => {
    dialog.value = undefined;
  };
  return (
    <Dialog title={t("menu.title")} onClose={close} class="narrow">
      <div class="signed-in">
        <Avatar user={session.user} />
        <p translate={false}>{t("menu.signed-in", { user: session.user })}</p>
      </div>
      <NameForm session={session} />
      {store === "memory" && <p class="note">{t("menu.memory")}</p>}
      <label class="field">
        <span class="label">{t("menu.language")}</span>
        <select value={locale.value} onChange={(event) => setLocale(event.currentTarget.value)}>
          {Object.entries(LOCALES).map(([tag, name]) => (
            <option key={tag} value={tag} lang={tag} translate={false}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <fieldset class="segments">
        <legend class="label">{t("menu.theme")}</legend>
        {THEMES.map((one) => (
          <label key={one}>
            <input type="radio" name="theme" value={one} checked={theme.value === one} onChange={() => (theme.value = one)} />
            <span>{t(`menu.theme.${one}`)}</span>
          </label>
        ))}
      </fieldset>
      <label class="switch">
        <span>{t("menu.developer")}</span>
        <input type="checkbox" role="switch" checked={drawer.value} onChange={(event) => (drawer.value = event.currentTarget.checked)} />
      </label>
      <p>
        <a href="/v1/docs" target="_blank" rel="noopener noreferrer">
          {t("menu.api")}
        </a>
      </p>
      <button
        type="button"
        class="button danger wide"
        onClick={() => {
          close();
          void signOut();
        }}
      >
        {t("menu.sign-out")}
      </button>
    </Dialog>
  );
}
