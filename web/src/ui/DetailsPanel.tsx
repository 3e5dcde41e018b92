// What belongs to a conversation: its settings, its members, and the way out.

import type { ConversationInfo, ConversationMember, Outgoing, Presence, Role } from "@rookery/client";
import { useConversation, usePresence, useRookery } from "@rookery/client/react";
import { useState } from "preact/hooks";
import { ago, t } from "../i18n/index.js";
import { reasonOf } from "../model/failure.js";
import { usePerson, useTitle } from "../model/people.js";
import { openConversation } from "../model/route.js";
import type { Session } from "../model/session.js";
import { Bans } from "./Bans.js";
import { useMembers } from "./members.js";
import { Panel } from "./Panel.js";
import { Avatar, Confirm, Field, Name } from "./parts.js";

const ROLES: readonly Role[] = ["owner", "admin", "member", "reader"];

export function DetailsPanel({ id, session }: { id: string; session: Session }) {
  const [conversation, info] = useConversation(id);
  const title = useTitle(session.user, info, id);
  const [failure, setFailure] = useState<string>();
  const [again, setAgain] = useState(0);
  const [leaving, setLeaving] = useState(false);
  const [copied, setCopied] = useState(false);
  const members = useMembers(conversation, info, again);
  const attempt = async (change: () => Outgoing) => {
    setFailure(undefined);
    try {
      await change().settled;
      setAgain((count) => count + 1);
      return true;
    } catch (error) {
      setFailure(t("details.failed", { reason: reasonOf(error) }));
      return false;
    }
  };
  const peer = info?.peer ?? (id.startsWith("to:") ? id.slice(3) : undefined);
  const leads = info?.role === "owner" || info?.role === "admin";
  return (
    <Panel title={t("details.title")}>
      {failure && (
        <p class="note error" role="alert">
          {failure}
        </p>
      )}
      {peer && (
        <div class="portrait">
          <Avatar user={peer} />
          <h3>
            <bdi translate={false}>{title}</bdi>
          </h3>
        </div>
      )}
      {info && info.kind !== "direct" && leads && (
        <Rename key={info.title ?? ""} title={info.title ?? ""} onSave={(text) => attempt(() => conversation.set({ title: text }))} />
      )}
      {info?.role && (
        <div class="switches">
          <Switch label={t("details.mute")} on={info.muted} onChange={(muted) => attempt(() => conversation.set({ muted }))} />
          <Switch label={t("details.pin")} on={info.pinned} onChange={(pinned) => attempt(() => conversation.set({ pinned }))} />
        </div>
      )}
      {info && info.kind !== "direct" && info.role && (
        <>
          <h3>{t("details.members")}</h3>
          {leads && <Invite onAdd={(who) => attempt(() => conversation.invite(who))} />}
          <MemberList
            members={members ?? []}
            info={info}
            session={session}
            onRole={(who, role) => attempt(() => conversation.role(who, role))}
            onKick={(who) => attempt(() => conversation.kick(who))}
            onBan={(who) => attempt(() => conversation.ban(who))}
          />
          {leads && (
            <Bans
              c={info.c}
              session={session}
              mark={`${again}/${info.members}`}
              onUnban={(who) => attempt(() => conversation.unban(who))}
            />
          )}
        </>
      )}
      {info && (
        <div class="field">
          <span class="label">{t("details.id")}</span>
          <div class="with-button">
            <code class="id" translate={false}>
              {info.c}
            </code>
            <button
              type="button"
              class="button small"
              aria-label={t("details.copy")}
              onClick={() => void navigator.clipboard?.writeText(info.c).then(() => setCopied(true))}
            >
              {copied ? t("details.copied") : t("details.copy")}
            </button>
          </div>
        </div>
      )}
      {peer && peer !== session.user && <Block user={peer} onFailure={setFailure} />}
      {info && info.kind !== "direct" && info.role && (
        <button type="button" class="button danger wide" onClick={() => setLeaving(true)}>
          {t("details.leave")}
        </button>
      )}
      {leaving && (
        <Confirm
          title={t("details.leave.title", { title })}
          hint={t("details.leave.hint")}
          action={t("details.leave")}
          onConfirm={() => void attempt(() => conversation.leave()).then((left) => left && openConversation(undefined))}
          onClose={() => setLeaving(false)}
        />
      )}
    </Panel>
  );
}

function Rename({ title, onSave }: { title: string; onSave: (title: string) => void }) {
  const [text, setText] = useState(title);
  return (
    <form
      class="with-button"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() !== title) onSave(text.trim());
      }}
    >
      <Field label={t("details.rename")} value={text} onInput={setText} />
      <button type="submit" class="button" disabled={text.trim() === title}>
        {t("details.rename.save")}
      </button>
    </form>
  );
}

function Invite({ onAdd }: { onAdd: (who: string) => void }) {
  const [who, setWho] = useState("");
  return (
    <form
      class="with-button"
      onSubmit={(event) => {
        event.preventDefault();
        if (!who.trim()) return;
        onAdd(who.trim());
        setWho("");
      }}
    >
      <Field label={t("details.invite")} value={who} onInput={setWho} />
      <button type="submit" class="button" disabled={!who.trim()}>
        {t("details.invite.add")}
      </button>
    </form>
  );
}

function Switch({ label, on, onChange }: { label: string; on: boolean; onChange: (on: boolean) => void }) {
  return (
    <label class="switch">
      <span>{label}</span>
      <input type="checkbox" role="switch" checked={on} onChange={(event) => onChange(event.currentTarget.checked)} />
    </label>
  );
}

function Block({ user, onFailure }: { user: string; onFailure: (failure: string | undefined) => void }) {
  const chat = useRookery();
  const { name } = usePerson(user);
  const [blocked, setBlocked] = useState(false);
  const change = async (on: boolean) => {
    try {
      await (on ? chat.block(user) : chat.unblock(user));
      setBlocked(on);
      onFailure(undefined);
    } catch (error) {
      onFailure(t("details.failed", { reason: reasonOf(error) }));
    }
  };
  return (
    <div class="block">
      {blocked && <p class="note">{t("details.blocked", { who: name })}</p>}
      <button type="button" class={`button wide ${blocked ? "" : "danger"}`} onClick={() => void change(!blocked)}>
        {blocked ? t("details.unblock") : t("details.block", { who: name })}
      </button>
    </div>
  );
}

interface MemberActions {
  onRole: (who: string, role: Role) => void;
  onKick: (who: string) => void;
  onBan: (who: string) => void;
}

/** Members whose presence is shown; a session may watch 500 users. */
const WATCHED = 100;

function MemberList(props: MemberActions & { members: readonly ConversationMember[]; info: ConversationInfo; session: Session }) {
  const { members, info, session, ...actions } = props;
  const ordered = [...members].sort((a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || (a.u < b.u ? -1 : 1));
  const presence = usePresence(ordered.slice(0, WATCHED).map((member) => member.u));
  return (
    <ul class="members">
      {ordered.map((member) => (
        <li key={member.u}>
          <MemberRow member={member} presence={presence[member.u]} info={info} me={session.user} {...actions} />
        </li>
      ))}
    </ul>
  );
}

function MemberRow(
  props: MemberActions & { member: ConversationMember; presence: Presence | undefined; info: ConversationInfo; me: string },
) {
  const { member, presence, info, me, onRole, onKick, onBan } = props;
  const { u, role, read, delivered } = member;
  const { name } = usePerson(u);
  const self = u === me;
  const owner = info.role === "owner";
  // As the rules of the server say; it decides.
  const below = role === "member" || role === "reader";
  const mayAct = !self && (owner || (info.role === "admin" && below));
  const roles = owner ? ROLES : ROLES.filter((it) => it === "member" || it === "reader");
  const end = info.last?.s ?? 0;
  const online = presence?.state === "online";
  const lines = [online ? t("room.online") : presence?.seen ? t("room.seen", { ago: ago(presence.seen, Date.now()) }) : t("room.offline")];
  if (!self && read != null && delivered != null) {
    lines.push(read >= end ? t("details.read-all") : t("details.read-to", { s: read, d: delivered }));
  }
  return (
    <>
      <Avatar user={u} online={online} small />
      <div class="member-text">
        <span class="member-name">{self ? <bdi>{t("details.you", { who: name })}</bdi> : <Name user={u} />}</span>
        <span class="note">{lines.join(" · ")}</span>
        {mayAct && (
          <span class="member-actions">
            <button type="button" class="link" onClick={() => openConversation(`to:${u}`)} aria-label={t("details.message", { who: name })}>
              {t("details.write")}
            </button>
            <button type="button" class="link" onClick={() => onKick(u)}>
              {t("details.kick")}
            </button>
            <button type="button" class="link" onClick={() => onBan(u)}>
              {t("details.ban")}
            </button>
          </span>
        )}
      </div>
      {mayAct ? (
        <select
          value={role}
          aria-label={t("details.role", { who: name })}
          onChange={(event) => onRole(u, event.currentTarget.value as Role)}
        >
          {roles.map((it) => (
            <option key={it} value={it}>
              {t(`role.${it}`)}
            </option>
          ))}
        </select>
      ) : (
        <span class="role">{t(`role.${role}`)}</span>
      )}
    </>
  );
}
