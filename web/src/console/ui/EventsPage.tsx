// The audit log: every change by an operator or by an API key.

import { useEffect, useState } from "preact/hooks";
import { moment } from "../../i18n/core.js";
import { t } from "../i18n/index.js";
import { read } from "../model/api.js";
import type { AuditEvent } from "../model/overview.js";
import { reasonOf } from "./format.js";
import { Table } from "./Table.js";

const PAGE = 50;

export function EventsPage() {
  const [events, setEvents] = useState<AuditEvent[]>();
  const [more, setMore] = useState(false);
  const [failure, setFailure] = useState<unknown>();
  const load = async (known: AuditEvent[]) => {
    setFailure(undefined);
    const before = known.at(-1)?.seq;
    try {
      const { items } = await read<{ items: AuditEvent[] }>(
        `/v1/admin/events?limit=${PAGE}${before === undefined ? "" : `&before=${before}`}`,
      );
      setEvents([...known, ...items]);
      setMore(items.length === PAGE);
    } catch (error) {
      setFailure(error);
    }
  };
  useEffect(() => {
    void load([]);
  }, []);
  const heads = [t("event.seq"), t("event.time"), t("event.by"), t("event.act"), t("event.target"), t("event.count"), t("event.outcome")];
  return (
    <>
      <div class="buttons start">
        <button type="button" class="button" onClick={() => void load([])}>
          {t("event.refresh")}
        </button>
      </div>
      {failure !== undefined && (
        <p class="note error" role="alert">
          {reasonOf(failure)}
        </p>
      )}
      {events?.length === 0 && <p>{t("event.none")}</p>}
      {events && events.length > 0 && (
        <Table label={t("page.events")} heads={heads}>
          {events.map((event) => (
            <tr key={event.seq} data-event={event.seq}>
              <th scope="row">{event.seq}</th>
              <td>
                <time dateTime={new Date(event.ts).toISOString()}>{moment(event.ts)}</time>
              </td>
              <td translate={event.who ? false : undefined}>{event.who ?? (event.key_id ? t("event.key", { id: event.key_id }) : "")}</td>
              <td translate={false}>{event.act}</td>
              <td translate={false}>{event.target}</td>
              <td class="figures-cell">{event.count}</td>
              <td translate={false}>{event.outcome}</td>
            </tr>
          ))}
        </Table>
      )}
      {more && events && (
        <button type="button" class="button" onClick={() => void load(events)}>
          {t("event.older")}
        </button>
      )}
    </>
  );
}
