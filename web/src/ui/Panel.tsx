// The frame of a panel beside the timeline; on a phone it covers it.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { t as shared } from "../i18n/shared/index.js";
import { panel } from "../model/view.js";
import { IconButton } from "./parts.js";

export function Panel({ title, children }: { title: string; children: ComponentChildren }) {
  const id = useId();
  const box = useRef<HTMLElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    if (!box.current?.contains(before)) box.current?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const close = () => {
    panel.value = undefined;
  };
  return (
    <section
      class="panel"
      ref={box}
      tabIndex={-1}
      aria-labelledby={id}
      onKeyDown={(event) => {
        if (event.key === "Escape" && !(event.target as HTMLElement).closest("dialog")) close();
      }}
    >
      <header class="bar">
        <h2 id={id}>{title}</h2>
        <IconButton icon="close" label={shared("dialog.close")} onClick={close} />
      </header>
      <div class="panel-body">{children}</div>
    </section>
  );
}
