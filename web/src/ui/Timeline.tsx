// The messages of a conversation: pages, the unread line, the way to the end, and the focus between messages.

import type { Conversation, ConversationInfo, LiveWindow } from "@rookery/client";
import { useLive } from "@rookery/client/react";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { day, t } from "../i18n/index.js";
import type { Session } from "../model/session.js";
import { keyOf, timelineRows } from "../model/timeline.js";
import { target } from "../model/view.js";
import type { Composing } from "./Composer.js";
import { Icon } from "./icons.js";
import { MessageView } from "./MessageView.js";
import { roving } from "./parts.js";

/** The end counts as visible within so many pixels. */
const NEAR = 60;

export interface TimelineProps {
  conversation: Conversation;
  info: ConversationInfo | undefined;
  id: string;
  session: Session;
  title: string;
  peer: string | undefined;
  onCompose: (composing: Composing) => void;
}

export function Timeline(props: TimelineProps) {
  const { conversation, info, id, session, title, peer, onCompose } = props;
  const [at, setAt] = useState<number>();
  const source: LiveWindow = useMemo(
    () => (at === undefined ? conversation.messages : conversation.messages.around(at)),
    [conversation, at],
  );
  const window = useLive(source);
  const { messages, loaded, atStart, atEnd } = window;
  const scroller = useRef<HTMLDivElement>(null);
  const [atBottom, setAtBottom] = useState(true);
  const [active, setActive] = useState<string>();
  const [loading, setLoading] = useState(false);
  const [marked, setMarked] = useState<number>();
  /** Position up to which everything was read when the conversation was opened. */
  const [unreadAfter, setUnreadAfter] = useState<number>();
  const [seen, setSeen] = useState<number>();
  const stick = useRef(true);

  const opened = useRef(false);
  useEffect(() => {
    if (opened.current || !info) return;
    opened.current = true;
    if (info.unread > 0) setUnreadAfter(info.read);
  }, [info]);

  const rows = useMemo(() => timelineRows(window, session.user, unreadAfter), [window, session.user, unreadAfter]);
  const last = messages[messages.length - 1];
  const end = last?.s ?? 0;

  // Only a change of the messages moves the view: the person may be reading further up.
  useLayoutEffect(() => {
    const box = scroller.current;
    if (box && at === undefined && (stick.current || last?.s === undefined)) box.scrollTop = box.scrollHeight;
  }, [rows, at, last?.s === undefined]);

  // The composer grows, or a keyboard takes room: the end stays visible.
  useEffect(() => {
    const box = scroller.current;
    if (!box) return undefined;
    const observer = new ResizeObserver(() => {
      if (stick.current) box.scrollTop = box.scrollHeight;
    });
    observer.observe(box);
    if (box.firstElementChild) observer.observe(box.firstElementChild);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    if (atBottom && at === undefined) setSeen(end);
  }, [atBottom, end, at]);

  useReading(conversation, info, end, atBottom && atEnd);

  const load = async (newer: boolean) => {
    const box = scroller.current;
    if (loading || !box) return;
    setLoading(true);
    // At the very top a browser does not keep the place of what is shown.
    if (!newer && box.scrollTop === 0) box.scrollTop = 1;
    const height = box.scrollHeight;
    await (newer ? source.newer() : source.older()).catch(() => {});
    setLoading(false);
    if (!newer && !CSS.supports("overflow-anchor", "auto")) box.scrollTop += box.scrollHeight - height;
  };

  const scrolled = () => {
    const box = scroller.current;
    if (!box) return;
    const bottom = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    stick.current = bottom && atEnd;
    if (bottom !== atBottom) setAtBottom(bottom);
    if (box.scrollTop < 200 && loaded && !atStart) void load(false);
    if (bottom && !atEnd && loaded) void load(true);
  };

  const toEnd = () => {
    setAt(undefined);
    stick.current = true;
    const box = scroller.current;
    if (box) box.scrollTop = box.scrollHeight;
  };

  const goTo = (s: number) => {
    setMarked(s);
    if (!messages.some((it) => it.s === s)) setAt(s);
  };

  // Jumps of the search come from outside.
  const wish = target.value;
  useEffect(() => {
    if (wish?.key !== id) return;
    target.value = undefined;
    goTo(wish.s);
  }, [wish]);

  useEffect(() => {
    if (marked === undefined) return undefined;
    const row = scroller.current?.querySelector<HTMLElement>(`[data-s="${marked}"]`);
    if (!row) return undefined;
    stick.current = false;
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
    const timer = setTimeout(() => setMarked(undefined), 2_000);
    return () => clearTimeout(timer);
  }, [marked, rows]);

  const fresh = atBottom && at === undefined ? 0 : messages.filter((it) => it.u !== session.user && (it.s ?? 0) > (seen ?? end)).length;
  const stop = active ?? (last && keyOf(last));

  return (
    <div class="timeline-place">
      <div class="timeline" ref={scroller} onScroll={scrolled}>
        <div
          class="log"
          role="log"
          aria-label={t("room.log", { title })}
          aria-live={loading || !loaded || at !== undefined ? "off" : "polite"}
          aria-relevant="additions"
          aria-busy={loading || !loaded}
          onKeyDown={(event) => {
            if (event.target instanceof HTMLElement && event.target.closest(".message-tools, input, dialog")) return;
            roving(event, ".message");
          }}
          onMouseLeave={() => setActive(undefined)}
        >
          <div class="log-head">
            {loaded && atStart && <p class="begin">{messages.length === 0 && peer ? t("room.begin.direct") : t("room.begin")}</p>}
            {!loaded && id.startsWith("to:") && messages.length === 0 && <p class="begin">{t("room.begin.direct")}</p>}
            {loaded && !atStart && (
              <button type="button" class="link" disabled={loading} onClick={() => void load(false)}>
                {t("room.older")}
              </button>
            )}
          </div>
          {rows.map((row) => {
            switch (row.kind) {
              case "day":
                return (
                  <p key={row.key} class="separator">
                    <time dateTime={new Date(row.ts).toISOString()}>{day(row.ts)}</time>
                  </p>
                );
              case "unread":
                return (
                  <p key={row.key} class="separator unread-line">
                    <span>{t("room.unread")}</span>
                  </p>
                );
              case "gap":
                return (
                  <p key={row.key} class="gap">
                    {t("room.gap", { from: row.from, to: row.to })}
                  </p>
                );
              case "message":
                return (
                  <MessageView
                    key={row.key}
                    row={row}
                    conversation={conversation}
                    info={info}
                    session={session}
                    quoted={row.message.replyTo ? messages.find((it) => it.s === row.message.replyTo) : undefined}
                    active={active === row.key}
                    tabStop={stop === row.key}
                    marked={marked !== undefined && row.message.s === marked}
                    onActive={setActive}
                    onGoTo={goTo}
                    onCompose={onCompose}
                  />
                );
            }
          })}
          {loaded && !atEnd && (
            <button type="button" class="link" disabled={loading} onClick={() => void load(true)}>
              {t("room.newer")}
            </button>
          )}
        </div>
      </div>
      {(!atBottom || at !== undefined) && (
        <button type="button" class={`to-end ${fresh > 0 ? "fresh" : ""}`} onClick={toEnd}>
          <Icon name="down" />
          {fresh > 0 ? <span>{t("room.to-end.new", { n: fresh })}</span> : <span class="sr">{t("room.to-end")}</span>}
        </button>
      )}
    </div>
  );
}

/** Marks as read what is on the screen. */
function useReading(conversation: Conversation, info: ConversationInfo | undefined, end: number, visible: boolean): void {
  const [shown, setShown] = useState(document.visibilityState === "visible");
  useEffect(() => {
    const changed = () => setShown(document.visibilityState === "visible");
    document.addEventListener("visibilitychange", changed);
    return () => document.removeEventListener("visibilitychange", changed);
  }, []);
  const unread = info ? info.unread > 0 || end > info.read : false;
  useEffect(() => {
    if (shown && visible && unread) conversation.read();
  }, [shown, visible, unread, end]);
}
