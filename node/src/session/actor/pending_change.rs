//! Change other than a send that waits for its result: decides on its receivers and on its response. Pure.

use protocol::ClientMessageId;

use crate::commands::ConversationChange;
use crate::shard_client::{CommandAck, CommandError};
use crate::state_machine::ConversationOp;

/// Change that waits for its result.
#[derive(Debug)]
pub(super) struct PendingChange {
    /// `None` for cursors and blocks.
    cid: Option<ClientMessageId>,
    joins: bool,
    is_quiet: bool,
    bytes: usize,
}

/// Consequence of a change's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChangeEffect {
    /// The `ack` follows the subscription, so that the client misses no event behind it.
    FollowAndAcknowledge(ClientMessageId, CommandAck),
    Acknowledge(ClientMessageId, CommandAck),
    /// The command has no `cid`.
    Confirm,
    Refuse(CommandError),
}

// === impl PendingChange ===

impl PendingChange {
    pub(super) fn of(change: &ConversationChange, bytes: usize) -> PendingChange {
        PendingChange {
            cid: change.cid.clone(),
            joins: matches!(change.op, ConversationOp::Join),
            is_quiet: change.cid.is_none() || matches!(change.op, ConversationOp::Set { .. }),
            bytes,
        }
    }

    /// Size of the command in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the tag of the session that does not receive the event; 0 if all receive it. A session needs no event of
    /// its own cursors and settings.
    pub(super) fn excluded_tag(&self, own: u64) -> u64 {
        if self.is_quiet { own } else { 0 }
    }

    /// Returns the consequence of this result.
    pub(super) fn effect(self, result: Result<CommandAck, CommandError>) -> ChangeEffect {
        match (result, self.cid) {
            (Ok(done), Some(cid)) if self.joins => ChangeEffect::FollowAndAcknowledge(cid, done),
            (Ok(done), Some(cid)) => ChangeEffect::Acknowledge(cid, done),
            (Ok(_), None) => ChangeEffect::Confirm,
            (Err(refusal), _) => ChangeEffect::Refuse(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ConversationId, ErrorCode};

    use super::*;

    fn pending(op: ConversationOp, cid: Option<&str>) -> PendingChange {
        let change = ConversationChange {
            conv: ConversationId::parse("g_1").unwrap(),
            cid: cid.map(|cid| ClientMessageId::parse(cid).unwrap()),
            op,
        };
        PendingChange::of(&change, 10)
    }

    fn done() -> CommandAck {
        CommandAck {
            conv: ConversationId::parse("g_1").unwrap(),
            s: 7,
            mn: 0,
            ts: 1,
            dup: false,
        }
    }

    #[test]
    fn cursor_is_confirmed_without_an_event_to_its_session() {
        let cursor = pending(ConversationOp::Read { s: 3 }, None);
        assert_eq!((cursor.excluded_tag(5), cursor.bytes()), (5, 10));
        assert_eq!(cursor.effect(Ok(done())), ChangeEffect::Confirm);
    }

    #[test]
    fn join_is_acknowledged_after_its_subscription() {
        let cid = ClientMessageId::parse("j").unwrap();
        let join = pending(ConversationOp::Join, Some("j"));
        assert_eq!(
            join.effect(Ok(done())),
            ChangeEffect::FollowAndAcknowledge(cid, done())
        );
    }

    #[test]
    fn deletion_is_acknowledged_and_sent_to_all() {
        let cid = ClientMessageId::parse("d").unwrap();
        let deletion = pending(ConversationOp::Delete { of: 3 }, Some("d"));
        assert_eq!(deletion.excluded_tag(5), 0);
        assert_eq!(
            deletion.effect(Ok(done())),
            ChangeEffect::Acknowledge(cid, done())
        );
    }

    #[test]
    fn refused_change_is_refused_with_and_without_a_cid() {
        let refusal = || CommandError::new(ErrorCode::NotMember, "");
        for cid in [None, Some("d")] {
            let change = pending(ConversationOp::Leave, cid);
            assert_eq!(change.effect(Err(refusal())), ChangeEffect::Refuse(refusal()));
        }
    }
}
