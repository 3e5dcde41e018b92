// The line about the connection: nothing while all is well.

import type { Status } from "@rookery/client";
import type { Key } from "../i18n/index.js";

/** Close codes of a node that is being stopped. */
const DRAINING = "closed 4012";

export interface Banner {
  key: Key;
  tone: "calm" | "warn";
  /** Values for the text. */
  at?: number;
  seconds?: number;
  action?: "resume" | "sign-in";
}

export function bannerOf(status: Status, now: number): Banner | undefined {
  switch (status.phase) {
    case "live":
      return undefined;
    case "connecting":
      return status.why === DRAINING ? { key: "banner.moving", tone: "calm" } : { key: "banner.connecting", tone: "calm" };
    case "syncing":
      return { key: "banner.syncing", tone: "calm" };
    case "waiting": {
      if (status.why === DRAINING) return { key: "banner.moving", tone: "calm" };
      const seconds = Math.max(0, Math.ceil(((status.retryAt ?? now) - now) / 1_000));
      return { key: "banner.waiting", tone: "warn", seconds };
    }
    case "offline":
      return { key: "banner.offline", tone: "warn", at: status.since };
    case "displaced":
      return { key: "banner.displaced", tone: "warn", action: "resume" };
    case "refused":
      return { key: "banner.refused", tone: "warn", action: "sign-in" };
  }
}
