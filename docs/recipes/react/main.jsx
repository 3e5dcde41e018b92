// The page: asks the application for access, and shows the chat.

import { createRoot } from "react-dom/client";
import { Rookery } from "@rookery/client";
import { indexedDb } from "@rookery/client/indexeddb";
import { Chat } from "./Chat.jsx";

/** Who is signed in, a token for the chat, and the conversation. */
async function access() {
  const answer = await fetch(`/chat/access${location.search}`, { method: "POST" });
  if (!answer.ok) throw new Error(`/chat/access: ${answer.status}`);
  return answer.json();
}

const { url, c } = await access();
// The client asks again before the token expires. What it has to send survives a reload in IndexedDB.
const client = new Rookery({ urls: [url], token: async () => (await access()).token, store: indexedDb() });
createRoot(document.getElementById("chat")).render(<Chat client={client} room={c} />);
