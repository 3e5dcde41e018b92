//! Typed header of a pending command: read once, where a batch enters the shard.

use cluster::FeatureLevel;
use protocol::{ClientMessageId, ConversationId, ErrorCode, UserId};

use crate::rpc::submit::CommandReply;
use crate::state_machine::{CommandDecodeError, CommandHeader, CommandKind, CommandSubject, LoginKey};

/// The part of a command that the shard owner uses beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingHeader {
    pub(crate) kind: CommandKind,
    pub(crate) subject: PendingSubject,
    pub(crate) cid: Option<ClientMessageId>,
    /// Session that gets no echo of the event; 0 for none.
    pub(crate) exclude_session: u64,
}

/// Rows that a pending command concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PendingSubject {
    /// Rows of the shard itself.
    Shard,
    /// Conversation, with the user of the command.
    Conversation {
        conv: ConversationId,
        user: UserId,
    },
    /// Rows of a user.
    User(UserId),
    Login(LoginKey),
}

// === impl PendingHeader ===

impl PendingHeader {
    /// Checks a whole command, without decoding its payload, and returns its header.
    ///
    /// # Errors
    /// The refusal of a command that cannot be decoded, or whose kind the feature level of the cluster does not allow.
    /// In the log it would stop replicas of the shard.
    pub(crate) fn validate(bytes: &[u8], level: FeatureLevel) -> Result<PendingHeader, CommandReply> {
        let undecodable =
            |error: CommandDecodeError| CommandReply::refused(ErrorCode::BadRequest, error.to_string());
        let header = CommandHeader::check(bytes).map_err(undecodable)?;
        if header.kind.first_level() > level {
            return Err(CommandReply::refused(
                ErrorCode::Unavailable,
                "the cluster is being upgraded and does not accept this yet".to_owned(),
            ));
        }
        PendingHeader::of(&header).map_err(undecodable)
    }

    fn of(header: &CommandHeader<'_>) -> Result<PendingHeader, CommandDecodeError> {
        let invalid = |error: protocol::InvalidId| header.error(error.to_string());
        let subject = match header.subject {
            CommandSubject::Shard => PendingSubject::Shard,
            CommandSubject::Conversation(conv) => PendingSubject::Conversation {
                conv: ConversationId::parse(conv).map_err(invalid)?,
                user: header.user()?,
            },
            CommandSubject::User => PendingSubject::User(header.user()?),
            CommandSubject::Login(key) => PendingSubject::Login(
                LoginKey::parse(key).ok_or_else(|| header.error("malformed login key".to_owned()))?,
            ),
        };
        let cid = header.cid.map(ClientMessageId::parse).transpose();
        Ok(PendingHeader {
            kind: header.kind,
            subject,
            cid: cid.map_err(invalid)?,
            exclude_session: header.exclude_session,
        })
    }

    /// Returns the conversation of the command; `None` for commands of the shard, a user or a login.
    pub(crate) fn conversation(&self) -> Option<&ConversationId> {
        match &self.subject {
            PendingSubject::Conversation { conv, .. } => Some(conv),
            PendingSubject::Shard | PendingSubject::User(_) | PendingSubject::Login(_) => None,
        }
    }

    /// Returns the user of a conversation command, or the user whose rows change.
    pub(crate) fn user(&self) -> Option<&UserId> {
        match &self.subject {
            PendingSubject::Conversation { user, .. } | PendingSubject::User(user) => Some(user),
            PendingSubject::Shard | PendingSubject::Login(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::state_machine::{CommandOrigin, ConversationOp, ShardCommand};

    fn join() -> Bytes {
        ShardCommand::Conversation {
            conversation: ConversationId::parse("g_1").unwrap(),
            origin: CommandOrigin {
                user: UserId::parse("alice").unwrap(),
                cid: ClientMessageId::parse("c").ok(),
                exclude_session: 0,
            },
            op: ConversationOp::Join,
        }
        .encode()
    }

    fn code(refused: CommandReply) -> ErrorCode {
        match refused {
            CommandReply::Refused { code, .. } => code,
            CommandReply::Done(_) => panic!("not refused"),
        }
    }

    #[test]
    fn a_kind_above_the_level_is_refused_before_the_log() {
        assert!(PendingHeader::validate(&join(), FeatureLevel(1)).is_ok());
        let refused = PendingHeader::validate(&join(), FeatureLevel(0)).unwrap_err();
        assert_eq!(code(refused), ErrorCode::Unavailable);
    }

    #[test]
    fn what_cannot_be_decoded_in_full_is_refused_before_the_log() {
        let (longer, shorter) = ([&join()[..], b"x"].concat(), join().slice(..join().len() - 1));
        for bytes in [Bytes::new(), Bytes::from(longer), shorter] {
            let refused = PendingHeader::validate(&bytes, FeatureLevel(1)).unwrap_err();
            assert_eq!(code(refused), ErrorCode::BadRequest);
        }
    }
}
