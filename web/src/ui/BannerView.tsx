// The state of the connection, where it is not as it should be.

import { useOutgoing, useRookery, useStatus } from "@rookery/client/react";
import { useEffect, useState } from "preact/hooks";
import { t, time } from "../i18n/index.js";
import { bannerOf } from "../model/banner.js";
import { signOut } from "../model/session.js";

export function BannerView() {
  const chat = useRookery();
  const status = useStatus();
  const waiting = useOutgoing().filter((it) => it.kind === "send" && it.state !== "failed").length;
  const now = useNow(status.phase === "waiting");
  const banner = bannerOf(status, now);
  const { key, tone, at, seconds, action } = banner ?? {};
  return (
    <div class="banner-place" role="status">
      {key && (
        <div class={`banner ${tone}`} data-banner={key}>
          <span class="pulse" aria-hidden="true" />
          <span>{t(key, { at: at === undefined ? "" : time(at), n: seconds ?? 0 })}</span>
          {waiting > 0 && <span class="dim">{t("banner.queued", { n: waiting })}</span>}
          {action === "resume" && (
            <button type="button" class="link" onClick={() => chat.start()}>
              {t("banner.resume")}
            </button>
          )}
          {action === "sign-in" && (
            <button type="button" class="link" onClick={() => void signOut()}>
              {t("banner.sign-in")}
            </button>
          )}
        </div>
      )}
    </div>
  );
}

/** The time, each second while it matters. */
export function useNow(running: boolean, every = 1_000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!running) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [running, every]);
  return now;
}
