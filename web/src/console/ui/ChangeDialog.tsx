// The question before a change, and its failure.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { t as shared } from "../../i18n/shared/index.js";
import { Dialog } from "../../ui/controls.js";
import { t } from "../i18n/index.js";
import { ApiError, change, setToken } from "../model/api.js";
import { reasonOf } from "./format.js";

export function ChangeDialog(props: {
  title: string;
  hint: string;
  action: string;
  method: "POST" | "DELETE";
  path: string;
  danger?: boolean;
  /** True until what the dialog shows is there: the change waits for it. */
  waiting?: boolean;
  onDone?: () => void;
  onClose: () => void;
  children?: ComponentChildren;
}) {
  const { title, hint, action, method, path, danger, waiting, onDone, onClose, children } = props;
  const [failure, setFailure] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const act = async () => {
    setBusy(true);
    setFailure(undefined);
    try {
      await change(method, path);
      onDone?.();
      onClose();
    } catch (error) {
      setFailure(error);
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose} class="narrow">
      <p>{hint}</p>
      {children}
      {failure !== undefined && (
        <p class="note error" role="alert">
          {t("change.failed", { reason: reasonOf(failure) })}
        </p>
      )}
      <div class="buttons">
        {failure instanceof ApiError && failure.status === 403 && (
          <button type="button" class="button" onClick={() => setToken("")}>
            {t("console.token.other")}
          </button>
        )}
        <button type="button" class="button" onClick={onClose}>
          {shared("dialog.cancel")}
        </button>
        <button type="button" class={`button ${danger ? "danger" : "primary"}`} disabled={busy || waiting} onClick={() => void act()}>
          {action}
        </button>
      </div>
    </Dialog>
  );
}
