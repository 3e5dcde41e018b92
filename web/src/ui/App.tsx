// The page: the login, or the chats of the user who is signed in.

import { signal } from "@preact/signals";
import { RookeryProvider } from "@rookery/client/react";
import { useEffect } from "preact/hooks";
import { t } from "../i18n/index.js";
import { loadConfig, type PageConfig } from "../model/config.js";
import { restore, session } from "../model/session.js";
import { LoginView } from "./LoginView.js";
import { Shell } from "./Shell.js";

const config = signal<PageConfig | "failed" | undefined>(undefined);

async function begin(): Promise<void> {
  try {
    const loaded = await loadConfig();
    session.value = await restore(loaded);
    config.value = loaded;
  } catch {
    config.value = "failed";
  }
}

export function App() {
  useEffect(() => {
    void begin();
  }, []);
  const loaded = config.value;
  if (loaded === undefined) return <p class="splash">{t("app.loading")}</p>;
  if (loaded === "failed") {
    return (
      <main class="splash">
        <p role="alert">{t("app.failed")}</p>
        <button type="button" class="button primary" onClick={() => location.reload()}>
          {t("app.reload")}
        </button>
      </main>
    );
  }
  const current = session.value;
  if (!current) return <LoginView config={loaded} />;
  return (
    // A client per session: another user begins with nothing of the former.
    <RookeryProvider client={current.chat} key={current.user}>
      <Shell session={current} />
    </RookeryProvider>
  );
}
