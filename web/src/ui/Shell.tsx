// The frame of the page: inbox, conversation, panel and drawer.

import { useInbox, useUnread } from "@rookery/client/react";
import { useEffect } from "preact/hooks";
import { t } from "../i18n/index.js";
import { openKey } from "../model/route.js";
import { readName, type Session } from "../model/session.js";
import { dialog, drawer, panel } from "../model/view.js";
import { BannerView } from "./BannerView.js";
import { DetailsPanel } from "./DetailsPanel.js";
import { DeveloperDrawer } from "./DeveloperDrawer.js";
import { InboxView } from "./InboxView.js";
import { MenuDialog } from "./MenuDialog.js";
import { NewDialog } from "./NewDialog.js";
import { RoomView } from "./RoomView.js";
import { SearchPanel } from "./SearchPanel.js";

export function Shell({ session }: { session: Session }) {
  const key = openKey.value;
  const unread = useUnread();
  const rows = useInbox();
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) ${t("app.name")}` : t("app.name");
  }, [unread]);
  useEffect(() => {
    // Without a name the id is shown.
    void readName(session.chat).catch(() => {});
  }, [session]);
  useEffect(() => {
    panel.value = undefined;
  }, [key]);
  return (
    <main class={`shell ${key ? "has-room" : ""} ${key && panel.value ? "has-panel" : ""}`}>
      <h1 class="sr">{t("app.name")}</h1>
      <InboxView session={session} rows={rows} />
      <div class="main">
        <BannerView />
        {key ? (
          <RoomView key={key} id={key} session={session} />
        ) : (
          <div class="empty">
            <h2>{t("room.none")}</h2>
            <p>{t("room.none.hint")}</p>
          </div>
        )}
      </div>
      {key && panel.value === "details" && <DetailsPanel key={key} id={key} session={session} />}
      {key && panel.value === "search" && <SearchPanel key={key} id={key} session={session} />}
      {drawer.value && <DeveloperDrawer session={session} />}
      {dialog.value === "new" && <NewDialog session={session} />}
      {dialog.value === "menu" && <MenuDialog session={session} />}
    </main>
  );
}
