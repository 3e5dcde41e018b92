// The chat of an application as a component: state of the connection, messages of a conversation, and a line to write.

import { useEffect } from "react";
import { RookeryProvider, useConversation, useMessages, useStatus, useTyping } from "@rookery/client/react";

/** Connects while it is mounted. `client` is made once, outside of any component. */
export function Chat({ client, room }) {
  return (
    <RookeryProvider client={client}>
      <Room id={room} />
    </RookeryProvider>
  );
}

function Room({ id }) {
  const { phase, user, why } = useStatus();
  const [conversation, info] = useConversation(id);
  const { messages, atStart } = useMessages(id);
  const others = useTyping(id);
  const unread = info?.unread ?? 0;

  // What is shown is read. An application asks whether the page is visible, too.
  useEffect(() => {
    if (unread > 0) conversation.read();
  }, [conversation, unread]);

  function send(event) {
    event.preventDefault();
    const { text } = event.currentTarget.elements;
    // Shown at once, and kept until a majority of the nodes has it on disk.
    if (text.value.trim()) conversation.send({ text: text.value });
    text.value = "";
  }

  return (
    <section aria-label={info?.title ?? "Chat"}>
      <p role="status">{phase === "live" ? `connected as ${user}` : [phase, why].filter(Boolean).join(": ")}</p>
      {!atStart && (
        <button type="button" onClick={() => conversation.messages.older()}>
          Earlier messages
        </button>
      )}
      <ol role="log">
        {messages.map((message) => (
          <li key={message.cid}>
            <b>{message.u}</b>: {String(message.b.text)} {message.u === user && <small>{message.state}</small>}
          </li>
        ))}
      </ol>
      {others.length > 0 && <p>{others.join(", ")} …</p>}
      <form onSubmit={send}>
        <input name="text" aria-label="Message" autoComplete="off" onInput={() => conversation.typing()} />
        <button>Send</button>
      </form>
    </section>
  );
}
