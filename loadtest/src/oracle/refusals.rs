//! Checks of permanent refusals: each needs a state that explains it, and a refused command must never appear in the
//! log.

use std::collections::BTreeMap;

use super::changes::{ChangeKind, MessageChange};
use super::violation::ViolationKind;
use super::{ConvIx, Oracle};
use crate::payload::{ClientIx, MessageTag};

/// Changes requested at one message, whatever the response.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Touched {
    deletions: u32,
    edits: u32,
    reactions: u32,
}

/// Changes requested at the last messages of a conversation, by position.
#[derive(Debug, Default)]
pub(super) struct Touches(BTreeMap<u64, Touched>);

/// Maximum number of messages with recorded changes. Clients change only messages that are much nearer to the end.
const TOUCHES: usize = 512;
/// Maximum number of edits per message (protocol, section 4).
const EDITS: u32 = 256;
/// Maximum number of different reactions per message.
const REACTIONS: u32 = 32;

// === impl Touches ===

impl Touches {
    pub(super) fn add(&mut self, change: &MessageChange) {
        let touched = self.0.entry(change.of).or_default();
        match change.what {
            ChangeKind::Edit => touched.edits += 1,
            ChangeKind::Delete => touched.deletions += 1,
            ChangeKind::React => touched.reactions += 1,
        }
        // The oldest message is evicted; `explain` then accepts any refusal for it.
        if self.0.len() > TOUCHES {
            self.0.pop_first();
        }
    }

    /// Returns `true` if a `conflict` is possible: the message may be deleted, or has its maximum of edits or
    /// reactions.
    fn explain(&self, change: &MessageChange) -> bool {
        // Evicted: a refusal can be neither explained nor contradicted.
        let Some(touched) = self.0.get(&change.of) else {
            return true;
        };
        let full = match change.what {
            ChangeKind::Edit => touched.edits > EDITS,
            ChangeKind::React => touched.reactions > REACTIONS,
            ChangeKind::Delete => false,
        };
        // The deletion of a deleted message is acknowledged with the first deletion's position, never refused.
        full || (change.what != ChangeKind::Delete && touched.deletions > 0)
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.0.len()
    }
}

// === impl Oracle: refusals ===

impl Oracle {
    /// Checks the permanent refusal of a message.
    pub(crate) fn refused(&mut self, conv: ConvIx, tag: MessageTag, code: &str) {
        self.counts.refused += 1;
        self.refused_there(conv, tag.sender, "send", code);
        let verdict = self.conversations[conv as usize].log.refuse(tag);
        self.judge(verdict, conv, Some(tag.sender), 0);
    }

    /// Checks the permanent refusal of a change.
    pub(crate) fn change_refused(&mut self, conv: ConvIx, tag: MessageTag, code: &str) {
        let log = &mut self.conversations[conv as usize].log;
        match log.refuse_change(tag) {
            Ok(change)
                if code == "conflict" && self.conversations[conv as usize].touches.explain(&change) => {}
            // Retention may have removed the message.
            Ok(change) if code == "not_found" && self.may_be_gone(conv, change.of) => {}
            Ok(change) => {
                let command = match change.what {
                    ChangeKind::Edit => "edit",
                    ChangeKind::Delete => "del",
                    ChangeKind::React => "react",
                };
                self.refused_there(conv, tag.sender, command, code);
            }
            Err(verdict) => self.judge(Err(verdict), conv, Some(tag.sender), 0),
        }
    }

    /// Checks the permanent refusal of a command on a conversation. Only a client that may have been removed can
    /// receive it.
    pub(crate) fn refused_there(&mut self, conv: ConvIx, client: ClientIx, command: &str, code: &str) {
        let conversation = &self.conversations[conv as usize];
        let removed =
            conversation.acknowledged.may_be_removed(client) || conversation.log.removed_at(client).is_some();
        if !(removed && code == "not_member") {
            let detail = format!("{command} of client {client}, a member, was refused permanently: {code}");
            self.violate(ViolationKind::RefusedWrongly, Some(conv), Some(client), 0, detail);
        }
    }

    /// Reports the permanent refusal of a command without a conversation, or of one that creates it. Nothing explains
    /// it.
    pub(crate) fn refused_anywhere(&mut self, client: ClientIx, command: &str, code: &str) {
        let detail = format!("{command} of client {client} was refused permanently: {code}");
        self.violate(ViolationKind::RefusedWrongly, None, Some(client), 0, detail);
    }
}
