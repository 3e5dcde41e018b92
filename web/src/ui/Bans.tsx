// The users who are banned from a conversation, for those who may lift a ban.

import type { BanEntryRow, BanList } from "@rookery/client/wire";
import { useEffect, useState } from "preact/hooks";
import { shortTime, t } from "../i18n/index.js";
import { reasonOf } from "../model/failure.js";
import { usePerson } from "../model/people.js";
import type { Session } from "../model/session.js";
import { Avatar, Name } from "./parts.js";

/** `mark` changes with whatever may change the list. */
export function Bans(props: { c: string; session: Session; mark: string; onUnban: (who: string) => void }) {
  const { c, session, mark, onUnban } = props;
  const [bans, setBans] = useState<readonly BanEntryRow[]>([]);
  const [failure, setFailure] = useState<string>();
  useEffect(() => {
    let over = false;
    readBans(session, c).then(
      (all) => {
        if (over) return;
        setBans(all);
        setFailure(undefined);
      },
      (error) => {
        if (!over) setFailure(t("details.bans.failed", { reason: reasonOf(error) }));
      },
    );
    return () => {
      over = true;
    };
  }, [c, mark]);
  if (failure) return <p class="note error">{failure}</p>;
  if (bans.length === 0) return null;
  return (
    <>
      <h3>{t("details.bans")}</h3>
      <ul class="members bans">
        {bans.map((ban) => (
          <li key={ban.u}>
            <BanRow ban={ban} onUnban={() => onUnban(ban.u)} />
          </li>
        ))}
      </ul>
    </>
  );
}

function BanRow({ ban, onUnban }: { ban: BanEntryRow; onUnban: () => void }) {
  const { name } = usePerson(ban.u);
  const { name: by } = usePerson(ban.by);
  return (
    <>
      <Avatar user={ban.u} small />
      <div class="member-text">
        <span class="member-name">
          <Name user={ban.u} />
        </span>
        <span class="note">{t("details.bans.by", { who: by, when: shortTime(ban.ts) })}</span>
      </div>
      <button type="button" class="button small" aria-label={t("details.unban.who", { who: name })} onClick={onUnban}>
        {t("details.unban")}
      </button>
    </>
  );
}

/** Reads all bans, page by page. */
async function readBans({ requests }: Session, c: string): Promise<BanEntryRow[]> {
  const all: BanEntryRow[] = [];
  let cursor: string | null = null;
  do {
    const more: string = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const page: BanList = await requests.get(`/v1/conversations/${encodeURIComponent(c)}/bans?limit=100${more}`);
    all.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return all;
}
