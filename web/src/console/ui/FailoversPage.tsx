// The takeovers of shards from an earlier owner: when, why, and how long the shard had none.

import { useEffect, useState } from "preact/hooks";
import { moment, number } from "../../i18n/core.js";
import { has, t } from "../i18n/index.js";
import { read } from "../model/api.js";
import { type Failover, type FailoverList, longestOf, marksOf } from "../model/failovers.js";
import { nameOf } from "../model/overview.js";
import { reasonOf } from "./format.js";
import { Table } from "./Table.js";

const WIDTH = 600;
const HEIGHT = 48;
/** Lines of the table until the others are asked for. */
const SHOWN = 100;

export function FailoversPage() {
  const [found, setFound] = useState<FailoverList & { at: number }>();
  const [failure, setFailure] = useState<unknown>();
  const [all, setAll] = useState(false);
  const load = async () => {
    setFailure(undefined);
    try {
      const list = await read<FailoverList>("/v1/admin/failovers");
      setFound({ ...list, at: Date.now() });
    } catch (error) {
      setFailure(error);
    }
  };
  useEffect(() => {
    void load();
  }, []);
  const items = found?.items ?? [];
  return (
    <>
      <div class="buttons start">
        <button type="button" class="button" onClick={() => void load()}>
          {t("event.refresh")}
        </button>
        {items.length > 0 && (
          <button type="button" class="button" onClick={() => save(items)}>
            {t("failover.export")}
          </button>
        )}
      </div>
      {failure !== undefined && (
        <p class="note error" role="alert">
          {reasonOf(failure)}
        </p>
      )}
      {found?.partial && <p class="warning">{t("failover.partial")}</p>}
      {found && items.length === 0 && <p>{t("failover.none")}</p>}
      {found && items.length > 0 && (
        <>
          <Longest items={items} />
          <Timeline items={items} now={found.at} />
          <List items={all ? items : items.slice(0, SHOWN)} />
          {!all && items.length > SHOWN && (
            <button type="button" class="button" onClick={() => setAll(true)}>
              {t("failover.all", { n: items.length })}
            </button>
          )}
        </>
      )}
    </>
  );
}

function Longest({ items }: { items: readonly Failover[] }) {
  const longest = longestOf(items);
  const count = t("failover.count", { n: items.length });
  if (!longest) return <p data-longest="">{count}</p>;
  const gap = t("failover.longest", { n: number(longest.unavailable_ms ?? 0), shard: nameOf(longest.shard, t("shard.meta")) });
  return <p data-longest={longest.unavailable_ms}>{`${count}. ${gap}`}</p>;
}

/** When the failovers were, the longer ones higher. The table below says the same in words. */
function Timeline({ items, now }: { items: readonly Failover[]; now: number }) {
  const marks = marksOf(items, now);
  const top = Math.max(1, ...marks.map(({ longest }) => longest));
  const oldest = Math.min(...items.map(({ ts }) => ts));
  return (
    <figure class="timeline">
      <svg viewBox={`-4 0 ${WIDTH + 8} ${HEIGHT + 2}`} preserveAspectRatio="none" aria-hidden="true" focusable="false">
        <path d={`M0 ${HEIGHT}H${WIDTH}`} />
        {marks.map(({ at, longest }) => (
          <path key={at} class="mark" d={`M${Math.round(at * WIDTH)} ${HEIGHT}v-${Math.round(6 + (longest / top) * (HEIGHT - 6))}`} />
        ))}
      </svg>
      <figcaption class="note">
        <time dateTime={new Date(oldest).toISOString()}>{moment(oldest)}</time>
        <time dateTime={new Date(now).toISOString()}>{moment(now)}</time>
      </figcaption>
    </figure>
  );
}

function List({ items }: { items: readonly Failover[] }) {
  const heads = [
    t("event.time"),
    t("shard.shard"),
    t("failover.from"),
    t("failover.to"),
    t("failover.why"),
    t("failover.gap"),
    t("shard.epoch"),
  ];
  return (
    <Table label={t("page.failovers")} heads={heads}>
      {items.map((one) => (
        <tr key={one.seq} data-failover={one.shard} data-from={one.from} data-why={one.why}>
          <th scope="row">
            <time dateTime={new Date(one.ts).toISOString()}>{moment(one.ts)}</time>
          </th>
          <td>{nameOf(one.shard, t("shard.meta"))}</td>
          <td>{one.from === null ? t("shard.none") : t("node.name", { id: String(one.from) })}</td>
          <td>{t("node.name", { id: String(one.to) })}</td>
          <td>{whyOf(one.why)}</td>
          <td class="figures-cell">
            {one.unavailable_ms === null ? t("failover.unknown") : t("node.clock.ms", { n: one.unavailable_ms })}
          </td>
          <td class="figures-cell">{one.epoch}</td>
        </tr>
      ))}
    </Table>
  );
}

/** The reason in the language of the page; one of a newer node as it is. */
function whyOf(why: string): string {
  const key = `why.${why}`;
  return has(key) ? t(key) : why;
}

/** Saves the history as a file. */
function save(items: readonly Failover[]): void {
  const file = new Blob([`${JSON.stringify({ v: 1, items }, undefined, 2)}\n`], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = "failovers.json";
  link.click();
  URL.revokeObjectURL(link.href);
}
