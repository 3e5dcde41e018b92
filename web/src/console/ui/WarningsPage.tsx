// The problems of the cluster, the critical ones first.

import { list } from "../../i18n/core.js";
import { t } from "../i18n/index.js";
import type { Overview } from "../model/overview.js";
import { grouped, type Problem, type ProblemGroup, problemsOf } from "../model/problems.js";
import { shardList, size } from "./format.js";

export function WarningsPage({ overview }: { overview: Overview }) {
  const groups = grouped(problemsOf(overview));
  if (groups.length === 0) return <p>{t("warning.none")}</p>;
  return (
    <ul class="warnings">
      {groups.map((group) => (
        <li key={group.what} data-problem={group.what}>
          <span class={`badge ${group.severity}`}>{severityOf(group)}</span>
          <div>
            {textsOf(group).map((text) => (
              <p key={text}>{text}</p>
            ))}
          </div>
        </li>
      ))}
    </ul>
  );
}

function severityOf({ severity }: ProblemGroup): string {
  return t(`severity.${severity}`);
}

/** One line for all shards, and one for each node. */
function textsOf({ what, problems, shards, meta }: ProblemGroup): string[] {
  if (shards.length > 0 || meta) return [t(`warning.${what}`, { groups: shardList(shards, meta) })];
  return problems.map(textOf);
}

function textOf({ what, node, versions }: Problem): string {
  const report = node?.report;
  return t(`warning.${what}`, {
    id: String(node?.id ?? ""),
    reason: report?.not_ready ?? "",
    n: report?.clock_skew_ms ?? 0,
    free: size(report?.disk_free_bytes ?? 0),
    reserve: size(report?.disk_reserve_bytes ?? 0),
    versions: list(versions ?? []),
  });
}
