// Search in the messages that are loaded.

import { useLive, useRookery } from "@rookery/client/react";
import { useState } from "preact/hooks";
import { moment, t } from "../i18n/index.js";
import type { Session } from "../model/session.js";
import { keyOf, textOf } from "../model/timeline.js";
import { target } from "../model/view.js";
import { Panel } from "./Panel.js";
import { Field, Name } from "./parts.js";

/** Results that are shown; more letters make them fewer. */
const SHOWN = 100;

export function SearchPanel({ id }: { id: string; session: Session }) {
  const source = useRookery().conversation(id).messages;
  const { messages, atStart } = useLive(source);
  const [text, setText] = useState("");
  const wanted = text.trim().toLocaleLowerCase();
  const found = wanted ? messages.filter((it) => !it.deleted && textOf(it.b).toLocaleLowerCase().includes(wanted)).reverse() : [];
  return (
    <Panel title={t("search.title")}>
      <Field label={t("search.label")} value={text} onInput={setText} search focus />
      <p class="note" role="status">
        {wanted ? t("search.count", { n: found.length, m: messages.length }) : t("search.loaded", { n: messages.length })}
      </p>
      <ul class="results">
        {found.slice(0, SHOWN).map((message) => (
          <li key={keyOf(message)}>
            <button
              type="button"
              disabled={message.s === undefined}
              onClick={() => {
                if (message.s !== undefined) target.value = { key: id, s: message.s };
              }}
            >
              <span class="row-top">
                <strong>
                  <Name user={message.u} />
                </strong>
                <time dateTime={new Date(message.ts).toISOString()}>{moment(message.ts)}</time>
              </span>
              <span class="result-text" dir="auto" translate={false}>
                {textOf(message.b)}
              </span>
            </button>
          </li>
        ))}
      </ul>
      {!atStart && (
        <button type="button" class="button wide" onClick={() => void source.older()}>
          {t("search.more")}
        </button>
      )}
    </Panel>
  );
}
