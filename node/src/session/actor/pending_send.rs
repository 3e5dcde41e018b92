//! Send that waits for its result: decides on the echo filter, the response and the sender's subscription. Pure.

use std::time::{Duration, Instant};

use protocol::command::{SendMessage, SendTarget};
use protocol::{ClientMessageId, ConversationId, UserId};

use crate::shard_client::{CommandAck, CommandError};

/// Send that waits for its result.
#[derive(Debug)]
pub(super) struct PendingSend {
    conv: ConversationId,
    cid: ClientMessageId,
    /// True if the client receives the event of its own message.
    has_echo: bool,
    /// True if the command names a user, whose direct conversation may not exist yet.
    is_direct: bool,
    /// True if the session follows the conversation already.
    is_followed: bool,
    bytes: usize,
    submitted: Instant,
}

/// Change of the echo filter, which withholds the event of a message without echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EchoUpdate {
    /// The event with this seq is withheld.
    Withhold(u64),
    /// There is no such event.
    Discard,
    Keep,
}

/// Consequence of a send's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SendEffect {
    /// The `ack` follows the subscription to the new direct conversation.
    FollowAndAcknowledge(CommandAck),
    Acknowledge(CommandAck),
    /// Like `Acknowledge`; then the session subscribes to the conversation.
    AcknowledgeAndFollow(CommandAck),
    /// `holds`: later sends of the conversation wait for the repetition of this one.
    Refuse {
        refusal: CommandError,
        holds: bool,
    },
}

// === impl PendingSend ===

impl PendingSend {
    /// Returns `None` if the command has no target, which the decoder refuses.
    pub(super) fn of(user: &UserId, send: &SendMessage, bytes: usize, now: Instant) -> Option<PendingSend> {
        let conv = match send.target()? {
            SendTarget::Conv(conv) => conv.clone(),
            SendTarget::User(to) => ConversationId::direct(user, to),
        };
        Some(PendingSend {
            conv,
            cid: send.client_message_id.clone(),
            has_echo: send.echo,
            is_direct: send.to.is_some(),
            is_followed: false,
            bytes,
            submitted: now,
        })
    }

    pub(super) fn conversation(&self) -> &ConversationId {
        &self.conv
    }

    pub(super) fn cid(&self) -> &ClientMessageId {
        &self.cid
    }

    /// Size of the command in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_echo(&self) -> bool {
        self.has_echo
    }

    /// Records that the session follows the conversation at the submission.
    pub(super) fn set_followed(&mut self, is_followed: bool) {
        self.is_followed = is_followed;
    }

    /// Returns the tag of the session that does not receive the event; 0 if all receive it.
    pub(super) fn excluded_tag(&self, own: u64) -> u64 {
        if self.has_echo { 0 } else { own }
    }

    /// Time since the submission.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.submitted)
    }

    /// Returns true if the session subscribes to the new direct conversation before the `ack`.
    pub(super) fn opens_conversation(&self) -> bool {
        self.is_direct && !self.is_followed
    }

    /// Returns the change of the echo filter after this result.
    pub(super) fn echo_update(&self, result: &Result<CommandAck, CommandError>) -> EchoUpdate {
        match result {
            _ if self.has_echo => EchoUpdate::Keep,
            Ok(done) => EchoUpdate::Withhold(done.s),
            Err(refusal) if !refusal.code.temporary() => EchoUpdate::Discard,
            // Temporary: the message may exist already, or will when the client repeats it.
            Err(_) => EchoUpdate::Keep,
        }
    }

    /// Returns the consequence of this result.
    pub(super) fn effect(&self, result: Result<CommandAck, CommandError>) -> SendEffect {
        match result {
            // A reply may follow at once: the subscription precedes the `ack`.
            Ok(done) if self.opens_conversation() => SendEffect::FollowAndAcknowledge(done),
            Ok(done) if self.is_followed => SendEffect::Acknowledge(done),
            Ok(done) => SendEffect::AcknowledgeAndFollow(done),
            Err(refusal) => SendEffect::Refuse {
                holds: refusal.code.temporary(),
                refusal,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ClientCommand, ErrorCode, Request};

    use super::*;

    fn pending(target: &str, echo: bool, is_followed: bool) -> PendingSend {
        let text = format!(r#"{{"t":"send",{target},"cid":"m1","b":{{}},"echo":{echo}}}"#);
        let request = Request::decode(&text).unwrap().unwrap();
        let ClientCommand::Send(send) = request.command else {
            panic!("{text}")
        };
        let user = "alice".parse().unwrap();
        let mut pending = PendingSend::of(&user, &send, text.len(), Instant::now()).unwrap();
        pending.set_followed(is_followed);
        pending
    }

    fn done() -> CommandAck {
        CommandAck {
            conv: ConversationId::parse("g_1").unwrap(),
            s: 7,
            mn: 3,
            ts: 1,
            dup: false,
        }
    }

    #[test]
    fn new_direct_conversation_is_followed_before_the_ack() {
        let send = pending(r#""to":"bob""#, true, false);
        assert_eq!(
            *send.conversation(),
            ConversationId::direct(&"alice".parse().unwrap(), &"bob".parse().unwrap())
        );
        assert_eq!(send.effect(Ok(done())), SendEffect::FollowAndAcknowledge(done()));
    }

    #[test]
    fn sender_follows_its_conversation_after_the_ack() {
        let send = |is_followed| pending(r#""c":"g_1""#, true, is_followed);
        assert_eq!(
            send(false).effect(Ok(done())),
            SendEffect::AcknowledgeAndFollow(done())
        );
        assert_eq!(send(true).effect(Ok(done())), SendEffect::Acknowledge(done()));
    }

    #[test]
    fn only_a_temporary_refusal_holds_later_sends() {
        let send = pending(r#""c":"g_1""#, true, true);
        for (code, expected) in [(ErrorCode::Unavailable, true), (ErrorCode::NotMember, false)] {
            let refusal = CommandError::new(code, "");
            let effect = send.effect(Err(refusal.clone()));
            assert_eq!(
                effect,
                SendEffect::Refuse {
                    refusal,
                    holds: expected
                }
            );
        }
    }

    #[test]
    fn message_without_echo_is_withheld_from_its_own_session() {
        let send = pending(r#""c":"g_1""#, false, true);
        assert_eq!(send.excluded_tag(5), 5);
        assert_eq!(send.echo_update(&Ok(done())), EchoUpdate::Withhold(7));
        let refused = |code| Err(CommandError::new(code, ""));
        assert_eq!(
            send.echo_update(&refused(ErrorCode::Forbidden)),
            EchoUpdate::Discard
        );
        // The message may exist: its event must still be recognised.
        assert_eq!(
            send.echo_update(&refused(ErrorCode::TimeoutUnknown)),
            EchoUpdate::Keep
        );
    }

    #[test]
    fn message_with_echo_reaches_its_own_session() {
        let send = pending(r#""c":"g_1""#, true, true);
        assert_eq!(send.excluded_tag(5), 0);
        assert_eq!(send.echo_update(&Ok(done())), EchoUpdate::Keep);
    }
}
