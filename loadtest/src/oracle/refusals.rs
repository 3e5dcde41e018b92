//! Definite refusals: each has to be explained by the state in which it can have been given, and what was refused must
//! never show up in the log.

use std::collections::BTreeMap;

use super::changes::{Change, What};
use super::violation::Kind;
use super::{ConvIx, Oracle};
use crate::payload::{ClientIx, Tag};

/// What was asked for at one message, whether it was answered or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Touched {
    deletions: u32,
    edits: u32,
    reactions: u32,
}

/// What was asked for at the last messages of a conversation.
#[derive(Debug, Default)]
pub(super) struct Touches(BTreeMap<u64, Touched>);

/// How many messages' touches are remembered: far more than are near enough to be changed.
const TOUCHES: usize = 512;
/// One message has at most so many edits (protocol, section 4) ...
const EDITS: u32 = 256;
/// ... and so many different reactions.
const REACTIONS: u32 = 32;

// === impl Touches ===

impl Touches {
    pub(super) fn add(&mut self, change: &Change) {
        let touched = self.0.entry(change.of).or_default();
        match change.what {
            What::Edit => touched.edits += 1,
            What::Delete => touched.deletions += 1,
            What::React => touched.reactions += 1,
        }
        if self.0.len() > TOUCHES {
            self.0.pop_first();
        }
    }

    /// Whether a change may have been refused as a conflict: the message may be deleted, or have its fill.
    fn explain(&self, change: &Change) -> bool {
        // Of what is not remembered any more nobody can tell.
        let Some(touched) = self.0.get(&change.of) else {
            return true;
        };
        let full = match change.what {
            What::Edit => touched.edits > EDITS,
            What::React => touched.reactions > REACTIONS,
            What::Delete => false,
        };
        // The one that deletes asks for itself, and is told of the first one by an ack.
        full || (change.what != What::Delete && touched.deletions > 0)
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.0.len()
    }
}

// === impl Oracle: refusals ===

impl Oracle {
    /// The message was refused for good.
    pub(crate) fn refused(&mut self, conv: ConvIx, tag: Tag, code: &str) {
        self.counts.refused += 1;
        self.refused_there(conv, tag.sender, "send", code);
        let verdict = self.conversations[conv as usize].log.refuse(tag);
        self.judge(verdict, conv, Some(tag.sender), 0);
    }

    /// The change was refused for good.
    pub(crate) fn change_refused(&mut self, conv: ConvIx, tag: Tag, code: &str) {
        let log = &mut self.conversations[conv as usize].log;
        match log.refuse_change(tag) {
            Ok(change)
                if code == "conflict" && self.conversations[conv as usize].touches.explain(&change) => {}
            // The message is gone by age or number.
            Ok(change) if code == "not_found" && self.may_be_gone(conv, change.of) => {}
            Ok(change) => {
                let command = match change.what {
                    What::Edit => "edit",
                    What::Delete => "del",
                    What::React => "react",
                };
                self.refused_there(conv, tag.sender, command, code);
            }
            Err(verdict) => self.judge(Err(verdict), conv, Some(tag.sender), 0),
        }
    }

    /// A command on a conversation was refused for good: only one who may have been removed can be told so.
    pub(crate) fn refused_there(&mut self, conv: ConvIx, client: ClientIx, command: &str, code: &str) {
        let conversation = &self.conversations[conv as usize];
        let removed =
            conversation.acknowledged.may_be_removed(client) || conversation.log.removed_at(client).is_some();
        if !(removed && code == "not_member") {
            let detail = format!("{command} of client {client}, a member, is refused for good: {code}");
            self.violate(Kind::RefusedWrongly, Some(conv), Some(client), 0, detail);
        }
    }

    /// A command that concerns no single conversation, or that makes one, was refused for good: nothing explains it.
    pub(crate) fn refused_anywhere(&mut self, client: ClientIx, command: &str, code: &str) {
        let detail = format!("{command} of client {client} is refused for good: {code}");
        self.violate(Kind::RefusedWrongly, None, Some(client), 0, detail);
    }
}
