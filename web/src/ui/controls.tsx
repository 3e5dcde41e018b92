// Controls that know nothing of the chat: both pages use them.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { t } from "../i18n/shared/index.js";
import { Icon, type IconName } from "./icons.js";

export function IconButton(props: { icon: IconName; label: string; onClick: () => void; pressed?: boolean; class?: string }) {
  const { icon, label, onClick, pressed } = props;
  return (
    <button
      type="button"
      class={`icon-button ${props.class ?? ""}`}
      aria-label={label}
      title={label}
      aria-pressed={pressed}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}

export function Field(props: {
  label: string;
  value: string;
  onInput: (value: string) => void;
  hint?: string;
  error?: string;
  focus?: boolean;
  search?: boolean;
  /** Hides what is typed. */
  secret?: boolean;
  autoComplete?: string;
  inputMode?: "numeric" | "text";
}) {
  const { label, value, onInput, hint, error, focus, search, secret, autoComplete = "off", inputMode } = props;
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (focus) input.current?.focus();
  }, [focus]);
  const note = error ?? hint;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        ref={input}
        // The types of Preact know no input whose kind is chosen at run time.
        type={(secret ? "password" : search ? "search" : "text") as "text"}
        list={undefined}
        value={value}
        autoComplete={autoComplete}
        inputMode={inputMode}
        spellcheck={false}
        autocapitalize="none"
        // A dialog gives the focus to the field that asks for it, not to its first button.
        autofocus={focus}
        aria-invalid={error ? true : undefined}
        aria-describedby={note ? `${id}-note` : undefined}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      {note && (
        <p id={`${id}-note`} class={error ? "note error" : "note"} role={error ? "alert" : undefined}>
          {note}
        </p>
      )}
    </div>
  );
}

/** A modal dialog: the browser keeps the focus inside, and Escape closes it. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren; class?: string }) {
  const { title, onClose, children } = props;
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={`dialog ${props.class ?? ""}`}
      aria-labelledby={id}
      onClose={onClose}
      onClick={(event) => {
        // The dialog itself is hit only beside its content, on the backdrop.
        if (event.target === dialog.current) onClose();
      }}
    >
      <div class="dialog-body">
        <header>
          <h2 id={id}>{title}</h2>
          <IconButton icon="close" label={t("dialog.close")} onClick={onClose} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

export function Confirm(props: { title: string; hint: string; action: string; onConfirm: () => void; onClose: () => void }) {
  const { title, hint, action, onConfirm, onClose } = props;
  return (
    <Dialog title={title} onClose={onClose} class="narrow">
      <p>{hint}</p>
      <div class="buttons">
        <button type="button" class="button" onClick={onClose}>
          {t("dialog.cancel")}
        </button>
        <button
          type="button"
          class="button danger"
          onClick={() => {
            onConfirm();
            onClose();
          }}
        >
          {action}
        </button>
      </div>
    </Dialog>
  );
}

/** Moves the focus between the items of a list by arrow keys, Home and End. */
export function roving(event: KeyboardEvent, selector: string): boolean {
  const list = event.currentTarget as HTMLElement;
  const items = [...list.querySelectorAll<HTMLElement>(selector)];
  const at = items.findIndex((item) => item.contains(document.activeElement));
  const steps: Record<string, number> = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: items.length - 1 };
  const to = steps[event.key];
  if (to === undefined || at < 0) return false;
  const next = items[Math.min(Math.max(to, 0), items.length - 1)];
  next?.focus();
  event.preventDefault();
  return true;
}
