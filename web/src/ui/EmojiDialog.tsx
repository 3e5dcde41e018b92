// The picker: all emoji of the page, found by name.

import { useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { findEmoji } from "../model/emoji.js";
import { Dialog } from "./parts.js";

const COLUMNS = 8;

export function EmojiDialog({ onChoose, onClose }: { onChoose: (emoji: string) => void; onClose: () => void }) {
  const [filter, setFilter] = useState("");
  const found = findEmoji(filter.trim().toLowerCase(), 400).filter(([, emoji], i, all) => all.findIndex((it) => it[1] === emoji) === i);
  const choose = (emoji: string) => {
    onChoose(emoji);
    onClose();
  };
  const keys = (event: KeyboardEvent) => {
    const buttons = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("button")];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS };
    const step = steps[event.key];
    if (step === undefined || at < 0) return;
    event.preventDefault();
    buttons[Math.min(Math.max(at + step, 0), buttons.length - 1)]?.focus();
  };
  return (
    <Dialog title={t("emoji.title")} onClose={onClose} class="narrow">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (found[0]) choose(found[0][1]);
        }}
      >
        <input
          type="search"
          autofocus
          value={filter}
          aria-label={t("emoji.filter")}
          placeholder={t("emoji.filter")}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      </form>
      {found.length === 0 && <p class="note">{t("emoji.none")}</p>}
      <div class="emoji-grid" role="group" aria-label={t("emoji.title")} onKeyDown={keys}>
        {found.map(([name, emoji], i) => (
          <button key={name} type="button" tabIndex={i === 0 ? 0 : -1} aria-label={name} title={`:${name}:`} onClick={() => choose(emoji)}>
            {emoji}
          </button>
        ))}
      </div>
    </Dialog>
  );
}
