// The field for a new message, a reply, or another text of an old message.

import type { Conversation, Message } from "@rookery/client";
import { useRookery } from "@rookery/client/react";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { findEmoji, withEmoji } from "../model/emoji.js";
import { nameOf } from "../model/people.js";
import type { Session } from "../model/session.js";
import { mentionsIn, wordAt } from "../model/text.js";
import { textOf } from "../model/timeline.js";
import { draft, drafts } from "../model/view.js";
import { EmojiDialog } from "./EmojiDialog.js";
import { Icon } from "./icons.js";
import { IconButton } from "./parts.js";

export type Composing = { kind: "new" } | { kind: "reply"; to: Message } | { kind: "edit"; message: Message };

interface Suggestion {
  text: string;
  label: string;
}

export interface ComposerProps {
  conversation: Conversation;
  /** Those who can be mentioned. */
  users: readonly string[];
  id: string;
  title: string;
  session: Session;
  composing: Composing;
  onDone: () => void;
  onCompose: (composing: Composing) => void;
}

export function Composer(props: ComposerProps) {
  const { conversation, users, id, title, session, composing, onDone, onCompose } = props;
  const chat = useRookery();
  const field = useRef<HTMLTextAreaElement>(null);
  const listId = useId();
  const [text, setText] = useState(() => drafts.peek()[id] ?? "");
  const [cursor, setCursor] = useState(0);
  const [chosen, setChosen] = useState(0);
  const [hidden, setHidden] = useState(false);
  const [picking, setPicking] = useState(false);

  useEffect(() => {
    if (composing.kind === "edit") setText(textOf(composing.message.b));
    if (composing.kind !== "new") field.current?.focus();
  }, [composing]);

  // A field for a person with a keyboard; on a phone it would open one.
  useEffect(() => {
    if (matchMedia("(hover: hover)").matches) field.current?.focus();
  }, [id]);

  useLayoutEffect(() => {
    const box = field.current;
    if (!box) return;
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight}px`;
  }, [text]);

  const suggestions = hidden ? [] : suggest(text, cursor, users, (u) => nameOf(chat, u));
  const at = Math.min(chosen, suggestions.length - 1);

  const change = (value: string, to: number) => {
    setText(value);
    setCursor(to);
    setChosen(0);
    setHidden(false);
    if (composing.kind !== "edit") draft(id, value);
    conversation.typing(value.trim() !== "");
  };

  const take = ({ text: word }: Suggestion) => {
    const before = text.slice(0, cursor).replace(/\S*$/, `${word} `);
    change(before + text.slice(cursor), before.length);
    requestAnimationFrame(() => field.current?.setSelectionRange(before.length, before.length));
  };

  const finish = () => {
    setText("");
    draft(id, "");
    onDone();
    field.current?.focus();
  };

  const submit = () => {
    const words = withEmoji(text).trim();
    if (!words) return;
    const mentions = mentionsIn(words, users);
    const named = mentions.length > 0 ? { mentions } : {};
    conversation.typing(false);
    if (composing.kind === "edit") {
      const { s, b } = composing.message;
      if (s !== undefined && words !== textOf(b)) conversation.edit(s, { ...b, text: words }, { mentions });
    } else if (composing.kind === "reply" && composing.to.s !== undefined) {
      conversation.send({ text: words }, { replyTo: composing.to.s, ...named });
    } else conversation.send({ text: words }, named);
    finish();
  };

  const editLast = () => {
    const { messages } = conversation.messages.get();
    const last = messages.findLast((it) => it.u === session.user && it.s !== undefined && !it.deleted);
    if (last) onCompose({ kind: "edit", message: last });
  };

  const keys = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (suggestions.length > 0) {
      const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
      const word = suggestions[at];
      if (step) setChosen((at + step + suggestions.length) % suggestions.length);
      else if ((event.key === "Tab" || event.key === "Enter") && word) take(word);
      else if (event.key === "Escape") setHidden(true);
      else return;
      event.preventDefault();
      return;
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && composing.kind !== "new") {
      event.preventDefault();
      finish();
    } else if (event.key === "ArrowUp" && text === "" && composing.kind === "new") {
      event.preventDefault();
      editLast();
    }
  };

  const insert = (emoji: string) => {
    const to = field.current?.selectionStart ?? text.length;
    change(text.slice(0, to) + emoji + text.slice(to), to + emoji.length);
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      {composing.kind !== "new" && (
        <div class="composing">
          <span class="composing-text">
            <strong>
              {composing.kind === "edit" ? t("composer.editing") : t("composer.replying", { who: nameOf(chat, composing.to.u) })}
            </strong>
            <span translate={false} dir="auto">
              {textOf(composing.kind === "edit" ? composing.message.b : composing.to.b)}
            </span>
          </span>
          <IconButton icon="close" label={t("composer.cancel")} onClick={finish} />
        </div>
      )}
      {suggestions.length > 0 && (
        <ul class="suggestions" id={listId} role="listbox" aria-label={t("composer.suggestions")}>
          {suggestions.map((it, i) => (
            <li
              key={it.label}
              id={`${listId}-${i}`}
              role="option"
              aria-selected={i === at}
              translate={false}
              onMouseDown={(event) => {
                event.preventDefault();
                take(it);
              }}
            >
              {it.label}
            </li>
          ))}
        </ul>
      )}
      <div class="composer-row">
        <IconButton icon="smile" label={t("composer.emoji")} onClick={() => setPicking(true)} />
        <textarea
          ref={field}
          rows={1}
          value={text}
          dir="auto"
          placeholder={t("composer.placeholder")}
          aria-label={t("composer.label", { title })}
          aria-describedby={`${listId}-hint`}
          aria-autocomplete="list"
          aria-controls={suggestions.length > 0 ? listId : undefined}
          aria-activedescendant={suggestions.length > 0 ? `${listId}-${at}` : undefined}
          onInput={(event) => change(event.currentTarget.value, event.currentTarget.selectionStart)}
          onSelect={(event) => setCursor(event.currentTarget.selectionStart)}
          onKeyDown={keys}
          onBlur={() => conversation.typing(false)}
        />
        <span class="sr" id={`${listId}-hint`}>
          {t("composer.hint")}
        </span>
        <button
          type="submit"
          class="icon-button filled"
          aria-label={composing.kind === "edit" ? t("composer.save") : t("composer.send")}
          disabled={text.trim() === ""}
        >
          <SendIcon edit={composing.kind === "edit"} />
        </button>
      </div>
      {picking && <EmojiDialog onChoose={insert} onClose={() => setPicking(false)} />}
    </form>
  );
}

function SendIcon({ edit }: { edit: boolean }) {
  return <Icon name={edit ? "check" : "send"} />;
}

function suggest(text: string, cursor: number, users: readonly string[], name: (u: string) => string): Suggestion[] {
  const emoji = wordAt(text, cursor, ":");
  if (emoji !== undefined && emoji.length > 1) {
    return findEmoji(emoji.toLowerCase(), 6).map(([word, sign]) => ({ text: sign, label: `${sign} :${word}:` }));
  }
  const who = wordAt(text, cursor, "@")?.toLocaleLowerCase();
  if (who === undefined) return [];
  const fits = (u: string) => u !== who && (u.toLocaleLowerCase().startsWith(who) || name(u).toLocaleLowerCase().startsWith(who));
  return users
    .filter(fits)
    .slice(0, 6)
    .map((u) => ({ text: `@${u}`, label: name(u) === u ? `@${u}` : `${name(u)} @${u}` }));
}
