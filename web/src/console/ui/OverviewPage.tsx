// The figures of the whole cluster. The sentence above every page says how much of it works.

import { number } from "../../i18n/core.js";
import { t } from "../i18n/index.js";
import type { Overview } from "../model/overview.js";
import { asOf, history } from "../model/poll.js";
import { FIGURES, type Figure, type Totals, totalsOf } from "../model/totals.js";
import { size, tenths } from "./format.js";
import { Sparkline } from "./Sparkline.js";

export function OverviewPage({ overview }: { overview: Overview }) {
  const totals = totalsOf(overview);
  return (
    <>
      {totals && (
        <ul class="figures">
          {FIGURES.map((figure) => (
            <li key={figure} class="figure" data-figure={figure}>
              <h2>{t(`figure.${figure}`)}</h2>
              <p class="value">{textOf(figure, totals)}</p>
              {figure === "sessions" && totals.detached > 0 && <p class="note">{t("figure.detached", { n: totals.detached })}</p>}
              <Sparkline samples={history.value[figure]} now={asOf.value} />
            </li>
          ))}
        </ul>
      )}
      <p class="note">{t("figure.window")}</p>
      <dl class="facts">
        <div>
          <dt>{t("console.cluster")}</dt>
          <dd translate={false}>{overview.cluster}</dd>
        </div>
        <div>
          <dt>{t("console.feature-level")}</dt>
          <dd>{number(overview.feature_level)}</dd>
        </div>
        <div>
          <dt>{t("console.answering")}</dt>
          <dd>{t("node.name", { id: String(overview.node) })}</dd>
        </div>
      </dl>
    </>
  );
}

function textOf(figure: Figure, totals: Totals): string {
  if (figure === "disk") return size(totals.disk);
  if (figure === "connections") return t("figure.of", { n: totals.connections, m: totals.connectionsLimit });
  if (figure === "ack" && totals.ack !== undefined)
    return t("figure.half", { n: number(tenths(totals.ack)), m: number(tenths(totals.ackHalf ?? totals.ack)) });
  const value = totals[figure];
  if (value === undefined) return t("figure.none");
  return figure === "fsync" ? t("node.clock.ms", { n: number(tenths(value)) }) : number(tenths(value));
}
