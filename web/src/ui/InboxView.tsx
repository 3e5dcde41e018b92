// The conversations of the user.

import type { ConversationInfo } from "@rookery/client";
import { usePresence, useRookery } from "@rookery/client/react";
import { useState } from "preact/hooks";
import { number, shortTime, t } from "../i18n/index.js";
import { nameOf, titleOf, useTitle } from "../model/people.js";
import { hrefOf, openKey } from "../model/route.js";
import { ownName, type Session } from "../model/session.js";
import { textOf } from "../model/timeline.js";
import { dialog, drafts } from "../model/view.js";
import { Icon } from "./icons.js";
import { Avatar, IconButton, KindAvatar, roving } from "./parts.js";

/** A session may watch 500 users; the members of the open conversation come on top. */
const WATCHED = 200;

export function InboxView({ session, rows }: { session: Session; rows: readonly ConversationInfo[] }) {
  const chat = useRookery();
  const [filter, setFilter] = useState("");
  const [ended, setEnded] = useState(false);
  const peers = rows.flatMap(({ peer }) => (peer ? [peer] : [])).slice(0, WATCHED);
  const presence = usePresence(peers);
  const wanted = filter.trim().toLocaleLowerCase();
  const shown = rows
    .filter((row) => titleOf(chat, session.user, row, row.c).toLocaleLowerCase().includes(wanted))
    .sort((a, b) => Number(b.pinned) - Number(a.pinned));
  const current = shown.find((row) => isOpen(row));
  const tabStop = current ?? shown[0];
  return (
    <section class="sidebar" aria-label={t("inbox.title")}>
      <header class="bar">
        <button type="button" class="me" onClick={() => (dialog.value = "menu")} aria-label={t("menu.open")} title={t("menu.open")}>
          <Avatar user={session.user} />
          <bdi translate={false}>{ownName.value ?? session.user}</bdi>
          <Icon name="down" />
        </button>
        <IconButton icon="plus" label={t("inbox.new")} class="filled" onClick={() => (dialog.value = "new")} />
      </header>
      <div class="filter">
        <Icon name="search" />
        <input
          type="search"
          value={filter}
          placeholder={t("inbox.filter")}
          aria-label={t("inbox.filter")}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      </div>
      {rows.length === 0 ? (
        <div class="empty">
          <h2>{t("inbox.empty")}</h2>
          <p>{t("inbox.empty.hint")}</p>
          <button type="button" class="button primary" onClick={() => (dialog.value = "new")}>
            {t("inbox.new")}
          </button>
        </div>
      ) : (
        <nav aria-label={t("inbox.title")} class="rows" onKeyDown={(event) => roving(event, "a")}>
          {shown.length === 0 && <p class="note">{t("inbox.no-match")}</p>}
          <ul>
            {shown.map((row) => (
              <li key={row.c}>
                <InboxRow
                  row={row}
                  session={session}
                  online={row.peer ? presence[row.peer]?.state === "online" : false}
                  current={row === current}
                  tabStop={row === tabStop}
                />
              </li>
            ))}
          </ul>
          {!ended && rows.length >= 50 && (
            <button type="button" class="link more" onClick={() => void chat.inbox.more().then((more) => setEnded(!more))}>
              {t("inbox.more")}
            </button>
          )}
        </nav>
      )}
    </section>
  );
}

function isOpen(row: ConversationInfo): boolean {
  const key = openKey.value;
  return key === row.c || (row.peer !== undefined && key === `to:${row.peer}`);
}

function InboxRow(props: { row: ConversationInfo; session: Session; online: boolean; current: boolean; tabStop: boolean }) {
  const { row, session, online, current, tabStop } = props;
  const { c, kind, peer, last, unread, mentions, muted, pinned, stale } = row;
  const title = useTitle(session.user, row, c);
  return (
    <a
      href={hrefOf(c)}
      class={`row ${stale ? "stale" : ""} ${unread > 0 ? "unread" : ""}`}
      aria-current={current ? "page" : undefined}
      tabIndex={tabStop ? 0 : -1}
    >
      {peer ? <Avatar user={peer} online={online} /> : <KindAvatar id={c} icon={kind === "channel" ? "channel" : "group"} />}
      <span class="row-text">
        <span class="row-top">
          <bdi class="row-title" translate={false}>
            {title}
          </bdi>
          {online && <span class="sr">{t("room.online")}</span>}
          {pinned && <Mark icon="pin" label={t("inbox.pinned")} />}
          {muted && <Mark icon="mute" label={t("inbox.muted")} />}
          {last && <time dateTime={new Date(last.ts).toISOString()}>{shortTime(last.ts)}</time>}
        </span>
        <span class="row-bottom">
          <span class="row-last">
            <LastLine row={row} session={session} />
          </span>
          {stale && <span class="sr">{t("inbox.stale")}</span>}
          {mentions > 0 && (
            <span class="badge mention">
              <span aria-hidden="true">@</span>
              <span class="sr">{t("inbox.mentions", { n: mentions })}</span>
            </span>
          )}
          {unread > 0 && (
            <span class={`badge ${muted ? "quiet" : ""}`}>
              <span aria-hidden="true">{number(unread)}</span>
              <span class="sr">{t("inbox.unread", { n: unread })}</span>
            </span>
          )}
        </span>
      </span>
    </a>
  );
}

function LastLine({ row, session }: { row: ConversationInfo; session: Session }) {
  const chat = useRookery();
  const { c, kind, last } = row;
  const begun = drafts.value[c];
  if (begun && !isOpen(row)) return <>{t("inbox.draft", { text: begun })}</>;
  if (!last) return null;
  if (last.deleted) return <em>{t("inbox.deleted")}</em>;
  const text = textOf(last.b) || t("inbox.no-text");
  if (last.u === session.user) return <>{t("inbox.you", { text })}</>;
  return <bdi translate={false}>{kind === "direct" ? text : `${nameOf(chat, last.u)}: ${text}`}</bdi>;
}

function Mark({ icon, label }: { icon: "pin" | "mute"; label: string }) {
  return (
    <span class="mark" title={label}>
      <Icon name={icon} />
      <span class="sr">{label}</span>
    </span>
  );
}
