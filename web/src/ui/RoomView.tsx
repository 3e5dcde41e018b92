// One conversation: head, timeline, composer.

import type { ConversationInfo } from "@rookery/client";
import { useConversation, usePresence, useRookery, useTyping } from "@rookery/client/react";
import { useEffect, useState } from "preact/hooks";
import { ago, list, t } from "../i18n/index.js";
import { nameOf, useTitle } from "../model/people.js";
import { openConversation } from "../model/route.js";
import type { Session } from "../model/session.js";
import { panel } from "../model/view.js";
import { useNow } from "./BannerView.js";
import { Composer, type Composing } from "./Composer.js";
import { useMembers } from "./members.js";
import { Avatar, IconButton, KindAvatar } from "./parts.js";
import { Timeline } from "./Timeline.js";

export function RoomView({ id, session }: { id: string; session: Session }) {
  const chat = useRookery();
  const [conversation, info] = useConversation(id);
  const [composing, setComposing] = useState<Composing>({ kind: "new" });
  const typists = useTyping(id).filter((user) => user !== session.user);
  const members = useMembers(conversation, info);
  const title = useTitle(session.user, info, id);
  const peer = info?.peer ?? (id.startsWith("to:") ? id.slice(3) : undefined);
  const typing = typists.length > 0 && t("room.typing", { n: typists.length, who: list(typists.map((u) => nameOf(chat, u))) });
  const toggle = (which: "details" | "search") => {
    panel.value = panel.value === which ? undefined : which;
  };
  return (
    <section class="room" aria-label={title}>
      <header class="bar">
        <IconButton icon="back" label={t("room.back")} class="back" onClick={() => openConversation(undefined)} />
        <Head id={id} peer={peer} info={info} count={info?.members ?? members?.length} title={title} self={peer === session.user} />
        <IconButton icon="search" label={t("room.search")} pressed={panel.value === "search"} onClick={() => toggle("search")} />
        <IconButton icon="info" label={t("room.details")} pressed={panel.value === "details"} onClick={() => toggle("details")} />
      </header>
      <Timeline conversation={conversation} info={info} id={id} session={session} title={title} peer={peer} onCompose={setComposing} />
      <p class="typing">
        {typing && (
          <>
            <span class="dots" aria-hidden="true">
              <i />
              <i />
              <i />
            </span>
            <span class="typing-text">{typing}</span>
          </>
        )}
      </p>
      <Foot info={info} id={id}>
        <Composer
          conversation={conversation}
          users={members?.map((member) => member.u) ?? (peer ? [peer] : [])}
          id={id}
          title={title}
          session={session}
          composing={composing}
          onDone={() => setComposing({ kind: "new" })}
          onCompose={setComposing}
        />
      </Foot>
    </section>
  );
}

function Head(props: {
  id: string;
  peer: string | undefined;
  info: ConversationInfo | undefined;
  count: number | undefined;
  title: string;
  self: boolean;
}) {
  const { id, peer, info, count, title, self } = props;
  const presence = usePresence(peer && !self ? [peer] : []);
  const now = useNow(true, 30_000);
  const seen = peer ? presence[peer] : undefined;
  let line = "";
  if (peer && seen) {
    if (seen.state === "online") line = t("room.online");
    else line = seen.seen ? t("room.seen", { ago: ago(seen.seen, now) }) : t("room.offline");
  } else if (count != null && info?.kind !== "direct") line = t("room.members", { n: count });
  return (
    <div class="head">
      {peer ? (
        <Avatar user={peer} online={seen?.state === "online"} />
      ) : (
        <KindAvatar id={id} icon={info?.kind === "channel" ? "channel" : "group"} />
      )}
      <div class="head-text">
        <h2>
          <bdi translate={false}>{title}</bdi>
        </h2>
        <p class="presence">{line}</p>
      </div>
    </div>
  );
}

/** The composer, or the reason for which there is none. */
function Foot({ info, id, children }: { info: ConversationInfo | undefined; id: string; children: preact.ComponentChildren }) {
  const chat = useRookery();
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 2_000);
    return () => clearTimeout(timer);
  }, [id]);
  if (id.startsWith("to:")) return <>{children}</>;
  if (!info) return late ? <p class="foot-note">{t("room.unknown")}</p> : <p class="foot-note" />;
  if (info.stale || (info.role && info.role !== "reader")) return <>{children}</>;
  if (info.role === "reader") return <p class="foot-note">{t("room.read-only")}</p>;
  return (
    <p class="foot-note">
      {t("room.left")}
      {info.kind === "channel" && (
        <button type="button" class="button" onClick={() => chat.conversation(id).join()}>
          {t("room.join")}
        </button>
      )}
    </p>
  );
}
