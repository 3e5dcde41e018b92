// The sessions of a user on all nodes.

import { useState } from "preact/hooks";
import { moment } from "../../i18n/core.js";
import { Field } from "../../ui/controls.js";
import { t } from "../i18n/index.js";
import { read } from "../model/api.js";
import type { Session } from "../model/overview.js";
import { ChangeDialog } from "./ChangeDialog.js";
import { reasonOf, size } from "./format.js";
import { Table } from "./Table.js";

interface Found {
  user: string;
  items: Session[];
  partial?: boolean;
}

export function SessionsPage() {
  const [user, setUser] = useState("");
  const [found, setFound] = useState<Found>();
  const [failure, setFailure] = useState<unknown>();
  const [ending, setEnding] = useState<Session>();
  const show = async (wanted: string) => {
    setFailure(undefined);
    try {
      const page = await read<Omit<Found, "user">>(`/v1/admin/sessions?user=${encodeURIComponent(wanted)}`);
      setFound({ ...page, user: wanted });
    } catch (error) {
      setFound(undefined);
      setFailure(error);
    }
  };
  const heads = [
    t("session.session"),
    t("node.node"),
    t("session.device"),
    t("session.since"),
    t("session.state"),
    t("session.resumes"),
    t("session.outbox"),
    t("node.actions"),
  ];
  return (
    <>
      <form
        class="with-button search"
        onSubmit={(event) => {
          event.preventDefault();
          if (user.trim()) void show(user.trim());
        }}
      >
        <Field label={t("session.user")} value={user} onInput={setUser} {...(failure === undefined ? {} : { error: reasonOf(failure) })} />
        <button type="submit" class="button primary">
          {t("session.show")}
        </button>
      </form>
      {found?.partial && <p class="warning">{t("session.partial")}</p>}
      {found?.items.length === 0 && <p role="status">{t("session.none", { user: found.user })}</p>}
      {found && found.items.length > 0 && (
        <Table label={t("page.sessions")} heads={heads}>
          {found.items.map((session) => (
            <tr key={session.id} data-session={session.id}>
              <th scope="row" translate={false}>
                {session.id}
              </th>
              <td>{session.node}</td>
              <td translate={false}>{session.device}</td>
              <td>
                <time dateTime={new Date(session.since).toISOString()}>{moment(session.since)}</time>
              </td>
              <td>{t(session.detached ? "session.detached" : "session.connected")}</td>
              <td class="figures-cell">{session.resumes}</td>
              <td class="figures-cell">{typeof session.outbox_bytes === "number" && size(session.outbox_bytes)}</td>
              <td>
                <button
                  type="button"
                  class="button small"
                  aria-label={`${t("session.disconnect")}: ${session.id}`}
                  onClick={() => setEnding(session)}
                >
                  {t("session.disconnect")}
                </button>
              </td>
            </tr>
          ))}
        </Table>
      )}
      {found && ending && (
        <ChangeDialog
          title={t("session.disconnect.title", { id: ending.id })}
          hint={t("session.disconnect.hint")}
          action={t("session.disconnect")}
          danger
          method="DELETE"
          path={`/v1/admin/sessions/${encodeURIComponent(ending.id)}?user=${encodeURIComponent(found.user)}`}
          onDone={() => void show(found.user)}
          onClose={() => setEnding(undefined)}
        />
      )}
    </>
  );
}
