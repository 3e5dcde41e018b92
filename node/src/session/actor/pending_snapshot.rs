//! Conversation that is being read for the client: decides on the form of its delivery, and on the consequence of a
//! refusal. Pure.

use std::time::Duration;

use protocol::{ClientMessageId, ConversationId};

use crate::shard_client::{CommandAck, CommandError};

/// Maximum time that the `ack` of a joining command waits for the subscription. The command is committed: a failing
/// owner must not make it look undone.
const ACK_WAITS: Duration = Duration::from_secs(2);

/// Form in which the client receives a conversation.
#[derive(Clone, Debug)]
pub(super) enum SnapshotTarget {
    /// As the response to this command.
    Response(Option<i64>),
    /// As the response to the command that created it, with all its events.
    Made(Option<i64>),
    Event,
    /// As an event behind the `ack` of the command that made the user a member. After that `ack` the client misses no
    /// event.
    EventAndAck(Option<i64>, ClientMessageId, CommandAck),
    /// As an `activity` event, which has the last position and nothing else.
    Activity,
}

/// Conversation that is being read for the client.
#[derive(Debug)]
pub(super) struct PendingSnapshot {
    conv: ConversationId,
    target: SnapshotTarget,
    /// True if the session began to follow the conversation for it.
    is_new: bool,
}

/// Form of a delivery, after the `ack` that preceded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotForm {
    Response(Option<i64>),
    Event,
    Activity,
}

/// Consequence of a refused read or subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SnapshotFailure {
    Refuse(Option<i64>, CommandError),
    /// The conversation is introduced later.
    FollowLater,
    /// Its activity is announced later.
    AnnounceLater,
    /// The user is no member: the client needs no response.
    Ignore,
}

// === impl PendingSnapshot ===

impl PendingSnapshot {
    /// `is_new`: the session began to follow the conversation for this delivery.
    pub(super) fn new(conv: ConversationId, target: SnapshotTarget, is_new: bool) -> PendingSnapshot {
        PendingSnapshot { conv, target, is_new }
    }

    pub(super) fn conversation(&self) -> &ConversationId {
        &self.conv
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns true if all events since the joining are delivered.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(
            self.target,
            SnapshotTarget::Response(_) | SnapshotTarget::Activity
        )
    }

    /// Returns true for an announcement of activity. It is no command of the client and does not count against its
    /// in-flight limit.
    pub(super) fn is_activity(&self) -> bool {
        matches!(self.target, SnapshotTarget::Activity)
    }

    /// Returns the time after which the read is abandoned; `None`: it has no limit of its own.
    pub(super) fn timeout(&self) -> Option<Duration> {
        matches!(self.target, SnapshotTarget::EventAndAck(..)).then_some(ACK_WAITS)
    }

    /// Returns the `ack` that precedes the delivery, once. It is due even if the subscription failed, because its
    /// command is committed.
    pub(super) fn take_ack(&mut self) -> Option<(Option<i64>, ClientMessageId, CommandAck)> {
        match std::mem::replace(&mut self.target, SnapshotTarget::Event) {
            SnapshotTarget::EventAndAck(id, cid, done) => Some((id, cid, done)),
            target => {
                self.target = target;
                None
            }
        }
    }

    /// Returns the form of the delivery.
    pub(super) fn form(&self) -> SnapshotForm {
        match self.target {
            SnapshotTarget::Response(id) | SnapshotTarget::Made(id) => SnapshotForm::Response(id),
            SnapshotTarget::Event | SnapshotTarget::EventAndAck(..) => SnapshotForm::Event,
            SnapshotTarget::Activity => SnapshotForm::Activity,
        }
    }

    /// Returns the consequence of a refusal.
    pub(super) fn fail(&self, refusal: CommandError) -> SnapshotFailure {
        match self.form() {
            SnapshotForm::Response(id) => SnapshotFailure::Refuse(id, refusal),
            // Without another attempt the session would receive nothing of a conversation of its user.
            SnapshotForm::Event if refusal.code.temporary() => SnapshotFailure::FollowLater,
            SnapshotForm::Activity if refusal.code.temporary() => SnapshotFailure::AnnounceLater,
            SnapshotForm::Event | SnapshotForm::Activity => SnapshotFailure::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::ErrorCode;

    use super::*;

    fn pending(target: SnapshotTarget) -> PendingSnapshot {
        PendingSnapshot::new(ConversationId::parse("g_1").unwrap(), target, true)
    }

    fn joined() -> SnapshotTarget {
        let done = CommandAck {
            conv: ConversationId::parse("g_1").unwrap(),
            s: 3,
            mn: 0,
            ts: 1,
            dup: false,
        };
        SnapshotTarget::EventAndAck(Some(4), ClientMessageId::parse("j").unwrap(), done)
    }

    #[test]
    fn ack_of_a_joining_command_precedes_the_event_once() {
        let mut snapshot = pending(joined());
        assert_eq!(snapshot.timeout(), Some(ACK_WAITS));
        let (id, cid, done) = snapshot.take_ack().unwrap();
        assert_eq!((id, cid.as_str(), done.s), (Some(4), "j", 3));
        assert!(snapshot.take_ack().is_none());
        assert_eq!(snapshot.form(), SnapshotForm::Event);
    }

    #[test]
    fn other_deliveries_have_no_ack_and_no_time_limit() {
        for target in [
            SnapshotTarget::Response(None),
            SnapshotTarget::Made(None),
            SnapshotTarget::Event,
            SnapshotTarget::Activity,
        ] {
            let mut snapshot = pending(target);
            assert!(snapshot.timeout().is_none() && snapshot.take_ack().is_none());
        }
    }

    #[test]
    fn refused_command_is_answered_and_a_refused_event_retried() {
        let temporary = CommandError::unavailable();
        let fail = |target| pending(target).fail(CommandError::unavailable());
        let refused = SnapshotFailure::Refuse(Some(1), temporary);
        assert_eq!(fail(SnapshotTarget::Made(Some(1))), refused);
        assert_eq!(fail(SnapshotTarget::Event), SnapshotFailure::FollowLater);
        assert_eq!(fail(SnapshotTarget::Activity), SnapshotFailure::AnnounceLater);
    }

    #[test]
    fn conversation_without_membership_is_not_retried() {
        let permanent = || CommandError::new(ErrorCode::NotMember, "");
        for target in [SnapshotTarget::Event, SnapshotTarget::Activity] {
            assert_eq!(pending(target).fail(permanent()), SnapshotFailure::Ignore);
        }
    }

    #[test]
    fn answered_views_have_only_the_requested_events() {
        assert!(!pending(SnapshotTarget::Response(None)).is_whole());
        assert!(!pending(SnapshotTarget::Activity).is_whole());
        assert!(pending(SnapshotTarget::Made(None)).is_whole() && pending(joined()).is_whole());
    }
}
