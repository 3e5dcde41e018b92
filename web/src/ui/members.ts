// The members of a conversation, read again when their number or the own role changes.

import type { Conversation, ConversationInfo, ConversationMember } from "@rookery/client";
import { useEffect, useState } from "preact/hooks";

export function useMembers(
  conversation: Conversation,
  info: ConversationInfo | undefined,
  again = 0,
): readonly ConversationMember[] | undefined {
  const [members, setMembers] = useState<readonly ConversationMember[]>();
  const wanted = info?.role != null && info.kind !== "direct";
  useEffect(() => {
    if (!wanted) return undefined;
    let over = false;
    conversation.members().then(
      (all) => {
        if (!over) setMembers(all);
      },
      // The next change of the conversation asks again.
      () => {},
    );
    return () => {
      over = true;
    };
  }, [conversation, wanted, info?.members, info?.role, again]);
  return members;
}
