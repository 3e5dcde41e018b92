// The frame of the console: the pages, the sentence about the cluster, and the shown page.

import { useEffect, useRef } from "preact/hooks";
import { LOCALES, locale, setLocale, timeWithSeconds } from "../../i18n/core.js";
import { t } from "../i18n/index.js";
import { hasToken, refusal, setToken } from "../model/api.js";
import type { Overview } from "../model/overview.js";
import { PAGES, type PageName, page } from "../model/page.js";
import { asOf, begin, failure, overview } from "../model/poll.js";
import { grouped, problemsOf } from "../model/problems.js";
import { sentenceOf } from "../model/sentence.js";
import { EventsPage } from "./EventsPage.js";
import { FailoversPage } from "./FailoversPage.js";
import { reasonOf } from "./format.js";
import { NodesPage } from "./NodesPage.js";
import { OverviewPage } from "./OverviewPage.js";
import { SessionsPage } from "./SessionsPage.js";
import { ShardsPage } from "./ShardsPage.js";
import { TokenView } from "./TokenView.js";
import { WarningsPage } from "./WarningsPage.js";

export function App() {
  useEffect(begin, []);
  const name = page.value;
  const shown = overview.value;
  useEffect(() => {
    document.title = `${t(`page.${name}`)} · ${t("console.title")}`;
  }, [name, locale.value]);
  if (refusal.value) return <TokenView key={refusal.value.status} refusal={refusal.value} />;
  return (
    <div class="console">
      <Header name={name} overview={shown} />
      <Content name={name} overview={shown} />
    </div>
  );
}

function Header({ name, overview }: { name: PageName; overview: Overview | undefined }) {
  const warnings = overview ? grouped(problemsOf(overview)).length : 0;
  return (
    <header class="head">
      <a class="skip" href={`#/${name}`} onClick={() => document.getElementById("content")?.focus()}>
        {t("console.skip")}
      </a>
      <nav aria-label={t("console.pages")}>
        {PAGES.map((one) => (
          <a key={one} href={`#/${one}`} aria-current={one === name ? "page" : undefined}>
            {t(`page.${one}`)}
            {one === "warnings" && warnings > 0 && (
              <span class="count" role="img" aria-label={t("page.warnings.count", { n: warnings })}>
                <span aria-hidden="true">{warnings}</span>
              </span>
            )}
          </a>
        ))}
      </nav>
      <label class="language">
        <span class="sr">{t("console.language")}</span>
        <select value={locale.value} onChange={(event) => setLocale(event.currentTarget.value)}>
          {Object.entries(LOCALES).map(([tag, text]) => (
            <option key={tag} value={tag} lang={tag} translate={false}>
              {text}
            </option>
          ))}
        </select>
      </label>
      {hasToken() && (
        <button type="button" class="button small" onClick={() => setToken("")}>
          {t("console.token.forget")}
        </button>
      )}
    </header>
  );
}

function Content({ name, overview }: { name: PageName; overview: Overview | undefined }) {
  const heading = useRef<HTMLHeadingElement>(null);
  const first = useRef(true);
  useEffect(() => {
    // Another page begins at its heading, for the keyboard and for screen readers; the first one as the browser has it.
    if (!first.current) heading.current?.focus();
    first.current = false;
  }, [name]);
  return (
    <main id="content" tabIndex={-1}>
      <Sentence overview={overview} />
      <h1 ref={heading} tabIndex={-1}>
        {t(`page.${name}`)}
      </h1>
      {name === "failovers" && <FailoversPage />}
      {name === "sessions" && <SessionsPage />}
      {name === "events" && <EventsPage />}
      {overview && name === "overview" && <OverviewPage overview={overview} />}
      {overview && name === "nodes" && <NodesPage overview={overview} />}
      {overview && name === "shards" && <ShardsPage overview={overview} />}
      {overview && name === "warnings" && <WarningsPage overview={overview} />}
    </main>
  );
}

/** How much of the cluster works, and since when nothing was heard of it. */
function Sentence({ overview }: { overview: Overview | undefined }) {
  const failed = failure.value;
  const since = timeWithSeconds(asOf.value);
  return (
    <div class="state">
      <p class="sentence" role="status">
        {overview
          ? sentenceOf(overview)
              .map(({ key, n, m }) => t(key, { n, m }))
              .join(", ")
          : failed
            ? reasonOf(failed)
            : t("console.loading")}
      </p>
      {overview && !failed && <p class="note">{t("console.as-of", { time: since })}</p>}
      {overview && failed && <p class="warning">{t("console.stale", { time: since, reason: reasonOf(failed) })}</p>}
    </div>
  );
}
