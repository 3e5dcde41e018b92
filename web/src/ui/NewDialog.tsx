// A new conversation: with one user, a group, a channel, or a channel that exists.

import { useRookery } from "@rookery/client/react";
import { useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { reasonOf } from "../model/failure.js";
import { openConversation } from "../model/route.js";
import type { Session } from "../model/session.js";
import { dialog } from "../model/view.js";
import { Dialog, Field } from "./parts.js";

const KINDS = ["direct", "group", "channel", "join"] as const;

export function NewDialog({ session }: { session: Session }) {
  const chat = useRookery();
  const [kind, setKind] = useState<(typeof KINDS)[number]>("direct");
  // After a choice of the kind the focus stays there: arrow keys may go on.
  const [changed, setChanged] = useState(false);
  const [who, setWho] = useState("");
  const [title, setTitle] = useState("");
  const [failure, setFailure] = useState<string>();
  const [busy, setBusy] = useState(false);
  const close = () => {
    dialog.value = undefined;
  };
  const users = who.split(/[\s,;]+/).filter(Boolean);
  const ready = kind === "group" || kind === "channel" ? title.trim() !== "" : users.length === 1;
  const make = async (): Promise<string> => {
    const [first = ""] = users;
    if (kind === "direct") return `to:${first}`;
    if (kind === "join") return (await chat.conversation(first).join().settled).c;
    const members = users.filter((user) => user !== session.user);
    return (await chat.create({ kind, members, title: title.trim() })).key;
  };
  const submit = async () => {
    setBusy(true);
    setFailure(undefined);
    try {
      openConversation(await make());
      close();
    } catch (error) {
      setFailure(t("new.failed", { reason: reasonOf(error) }));
      setBusy(false);
    }
  };
  const label = kind === "direct" ? t("new.user") : kind === "join" ? t("new.id") : t("new.members");
  return (
    <Dialog title={t("new.title")} onClose={close} class="narrow">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (ready && !busy) void submit();
        }}
      >
        <fieldset class="segments">
          <legend class="sr">{t("new.kind")}</legend>
          {KINDS.map((one) => (
            <label key={one}>
              <input
                type="radio"
                name="kind"
                value={one}
                checked={kind === one}
                onChange={() => {
                  setKind(one);
                  setChanged(true);
                }}
              />
              <span>{t(`new.${one}`)}</span>
            </label>
          ))}
        </fieldset>
        <p class="note">{t(`new.${kind}.hint`)}</p>
        {(kind === "group" || kind === "channel") && <Field label={t("new.name")} value={title} onInput={setTitle} />}
        <Field
          key={kind}
          label={label}
          value={who}
          onInput={setWho}
          focus={!changed}
          {...(kind === "group" || kind === "channel" ? { hint: t("new.members.hint") } : {})}
        />
        {failure && (
          <p class="note error" role="alert">
            {failure}
          </p>
        )}
        <button type="submit" class="button primary wide" disabled={!ready || busy}>
          {kind === "direct" ? t("new.open") : kind === "join" ? t("new.join") : t("new.create")}
        </button>
      </form>
    </Dialog>
  );
}
