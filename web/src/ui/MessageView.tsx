// One message, with what can be done with it.

import type { Conversation, ConversationInfo, Message } from "@rookery/client";
import { useRookery } from "@rookery/client/react";
import { useState } from "preact/hooks";
import { list, moment, t, time } from "../i18n/index.js";
import { hueOf } from "../model/avatar.js";
import { QUICK } from "../model/emoji.js";
import { reasonOf } from "../model/failure.js";
import { nameOf, usePerson } from "../model/people.js";
import type { Session } from "../model/session.js";
import { isEmojiOnly, partsOf } from "../model/text.js";
import { type Row, textOf } from "../model/timeline.js";
import type { Composing } from "./Composer.js";
import { EmojiDialog } from "./EmojiDialog.js";
import { Icon, type IconName } from "./icons.js";
import { Avatar, Confirm, IconButton, Name } from "./parts.js";

export interface MessageProps {
  row: Row & { kind: "message" };
  conversation: Conversation;
  info: ConversationInfo | undefined;
  session: Session;
  quoted: Message | undefined;
  active: boolean;
  tabStop: boolean;
  marked: boolean;
  onActive: (key: string | undefined) => void;
  onGoTo: (s: number) => void;
  onCompose: (composing: Composing) => void;
}

export function MessageView(props: MessageProps) {
  const { row, conversation, info, session, quoted, active, tabStop, marked, onActive, onGoTo, onCompose } = props;
  const { message, head, tail, key } = row;
  const [open, setOpen] = useState<"delete" | "emoji">();
  const own = message.u === session.user;
  const { s, deleted } = message;
  const at = time(message.ts);
  const { name } = usePerson(message.u);
  const mentioned = message.mentions.includes(session.user);
  const canReact = s !== undefined && !deleted && info?.role != null;
  const canWrite = canReact && info?.role !== "reader";
  const canDelete =
    canReact && (own ? info?.role !== "reader" : info?.role === "owner" || info?.role === "admin") && info?.kind !== undefined;
  const mayDelete = canDelete && (own || info?.kind !== "direct");
  const react = (emoji: string) => {
    if (s !== undefined) conversation.react(s, emoji, !(message.reactions[emoji] ?? []).includes(session.user));
  };
  const reply = () => onCompose({ kind: "reply", to: message });
  const edit = () => onCompose({ kind: "edit", message });

  const keys = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: Record<string, (() => void) | false> = {
      r: canWrite && reply,
      e: canWrite && own && edit,
      "+": canReact && (() => setOpen("emoji")),
      Delete: mayDelete && (() => setOpen("delete")),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };

  return (
    <article
      class={`message ${own ? "own" : ""} ${head ? "first" : ""} ${tail ? "last" : ""} ${marked ? "marked" : ""} ${mentioned ? "mentioned" : ""}`}
      data-s={s}
      data-state={own ? message.state : undefined}
      aria-label={own ? t("message.by.you", { time: at }) : t("message.by", { who: name, time: at })}
      tabIndex={tabStop ? 0 : -1}
      onKeyDown={keys}
      onFocusCapture={() => onActive(key)}
      onMouseEnter={() => onActive(key)}
    >
      {!own && <span class="message-side">{tail && <Avatar user={message.u} small />}</span>}
      <div class="message-body">
        {head && !own && info?.kind !== "direct" && (
          <p class={`author ink-${hueOf(message.u)}`}>
            <Name user={message.u} />
          </p>
        )}
        <div class={`bubble ${message.replyTo === undefined && isEmojiOnly(textOf(message.b)) ? "jumbo" : ""}`}>
          {message.replyTo !== undefined && (
            <Quote quoted={quoted} onGoTo={() => message.replyTo !== undefined && onGoTo(message.replyTo)} />
          )}
          <MessageText message={message} me={session.user} />
          <span class="meta">
            {message.editedTs !== undefined && !deleted && <span title={moment(message.editedTs)}>{t("message.edited")}</span>}
            <time dateTime={new Date(message.ts).toISOString()} title={moment(message.ts)}>
              {at}
            </time>
            {own && <StateMark message={message} />}
          </span>
        </div>
        <Reactions message={message} me={session.user} onReact={canReact ? react : undefined} />
        {message.state === "failed" && <FailedNote message={message} />}
        {active && s !== undefined && !deleted && (
          <div class="message-tools" role="toolbar" aria-label={t("message.actions")}>
            {canReact &&
              QUICK.map((emoji) => (
                <button
                  key={emoji}
                  type="button"
                  class="icon-button emoji"
                  aria-label={t("message.react-with", { emoji })}
                  onClick={() => react(emoji)}
                >
                  {emoji}
                </button>
              ))}
            {canReact && <IconButton icon="smile" label={t("message.react")} onClick={() => setOpen("emoji")} />}
            {canWrite && <IconButton icon="reply" label={t("message.reply")} onClick={reply} />}
            <IconButton icon="copy" label={t("message.copy")} onClick={() => void navigator.clipboard?.writeText(textOf(message.b))} />
            {canWrite && own && <IconButton icon="edit" label={t("message.edit")} onClick={edit} />}
            {mayDelete && <IconButton icon="trash" label={t("message.delete")} onClick={() => setOpen("delete")} />}
          </div>
        )}
      </div>
      {open === "delete" && (
        <Confirm
          title={t("message.delete.title")}
          hint={t("message.delete.hint")}
          action={t("message.delete")}
          onConfirm={() => s !== undefined && conversation.remove(s)}
          onClose={() => setOpen(undefined)}
        />
      )}
      {open === "emoji" && <EmojiDialog onChoose={react} onClose={() => setOpen(undefined)} />}
    </article>
  );
}

function MessageText({ message, me }: { message: Message; me: string }) {
  if (message.deleted) return <p class="text quiet">{t("message.deleted")}</p>;
  const text = textOf(message.b);
  if (!text) return <p class="text quiet">{t("message.no-text")}</p>;
  const parts = partsOf(text).map((part, i) => {
    switch (part.kind) {
      case "text":
        return part.text;
      case "code":
        return <code key={i}>{part.text}</code>;
      case "mention":
        return (
          <span key={i} class={`mention ${part.text.slice(1) === me ? "self" : ""}`}>
            {part.text}
          </span>
        );
      case "link":
        return (
          <a key={i} href={part.text} target="_blank" rel="noopener noreferrer">
            {part.text}
          </a>
        );
    }
  });
  return (
    <p class="text" dir="auto" translate={false}>
      {parts}
    </p>
  );
}

function Quote({ quoted, onGoTo }: { quoted: Message | undefined; onGoTo: () => void }) {
  const chat = useRookery();
  const who = quoted ? nameOf(chat, quoted.u) : "";
  const text = quoted?.deleted ? t("message.deleted") : quoted ? textOf(quoted.b) || t("message.no-text") : t("message.quote.away");
  return (
    <button type="button" class="quote" onClick={onGoTo} aria-label={t("message.reply-to", { who, text })}>
      {quoted && (
        <bdi class={`quote-who ink-${hueOf(quoted.u)}`} translate={false}>
          {who}
        </bdi>
      )}
      <span class="quote-text" dir="auto" translate={!quoted || quoted.deleted}>
        {text}
      </span>
    </button>
  );
}

const STATE_ICONS: Record<Message["state"], IconName> = {
  queued: "clock",
  pending: "clock",
  failed: "alert",
  sent: "check",
  delivered: "checks",
  read: "checks",
};

function StateMark({ message }: { message: Message }) {
  const text = stateText(message);
  return (
    <span class={`state ${message.state}`} title={text}>
      <Icon name={STATE_ICONS[message.state]} />
      <span class="sr">{text}</span>
    </span>
  );
}

/** The state as a sentence; in a group with the members it has reached. */
export function stateText({ state, reach, error }: Message): string {
  if (state === "failed") return error ? t("state.failed.why", { reason: reasonOf(error) }) : t("state.failed");
  if (reach && reach.of > 1 && (state === "sent" || state === "delivered" || state === "read")) {
    if (reach.read > 0) return t("state.read.some", { n: reach.read, m: reach.of });
    if (reach.delivered > 0) return t("state.delivered.some", { n: reach.delivered, m: reach.of });
  }
  return t(`state.${state}`);
}

function FailedNote({ message }: { message: Message }) {
  const chat = useRookery();
  return (
    <p class="failed-note" role="alert">
      <span>{stateText(message)}</span>
      <button type="button" class="link" onClick={() => void chat.retry(message.cid)}>
        {t("message.retry")}
      </button>
      <button type="button" class="link" onClick={() => void chat.discard(message.cid)}>
        {t("message.discard")}
      </button>
    </p>
  );
}

function Reactions({ message, me, onReact }: { message: Message; me: string; onReact: ((emoji: string) => void) | undefined }) {
  const chat = useRookery();
  const all = Object.entries(message.reactions);
  if (all.length === 0 || message.deleted) return null;
  return (
    <div class="reactions">
      {all.map(([emoji, users]) => {
        const who = list(users.map((u) => (u === me ? t("message.you") : nameOf(chat, u))));
        const label = t("message.reaction", { n: users.length, emoji, who });
        return (
          <button
            key={emoji}
            type="button"
            class="reaction"
            aria-pressed={users.includes(me)}
            aria-label={label}
            title={label}
            disabled={!onReact}
            onClick={() => onReact?.(emoji)}
          >
            <span aria-hidden="true">{emoji}</span>
            <span aria-hidden="true">{users.length}</span>
          </button>
        );
      })}
    </div>
  );
}
