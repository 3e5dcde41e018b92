//! The conversation actor's precheck before the log.
//!
//! Spine: step 5 of 13. Previous: `node: conversation/shard_client/command_queue`. Next:
//! `node: conversation/shard/propose`.
//!
//! The precheck responds only where the state machine would respond the same way; it saves log entries. Its cache holds
//! users refused as non-members, recently completed client message ids, and the absence of the conversation. These
//! facts are exact while the epoch lasts, because every change of the conversation passes through the actor. The epoch
//! is proved before a cached response is sent, because a node that was paused may have been deposed.

use std::collections::{HashMap, HashSet, VecDeque};

use protocol::{ClientMessageId, ErrorCode, UserId, limits};
use serde::Deserialize;

use super::state_machine::EventEnvelope;
use crate::rpc::submit::CommandReply;

/// Completed client message ids kept per conversation: covers what a queue may resend after a lost response.
const RECENT: usize = 512;
/// Non-members kept per conversation.
const NON_MEMBERS: usize = 256;
/// Bytes that a command may be longer than the largest body: ids and mentions.
const COMMAND_SLACK: usize = 8 * 1024;

/// Prefix of an encoded command, borrowed from its bytes.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct CommandHeader<'a> {
    pub(crate) conv: &'a str,
    pub(crate) user: &'a str,
    pub(crate) cid: Option<&'a str>,
    /// Session that gets no echo of the event; 0 for none.
    pub(crate) skip: u64,
    op: u8,
}

/// Numbers of the operations in the encoding, as far as the precheck uses them.
mod op {
    pub(super) const SEND: u8 = 0;
    pub(super) const CREATE: u8 = 1;
    pub(super) const RESERVE: u8 = 7;
    pub(super) const INDEX_PUT: u8 = 8;
    pub(super) const OUTBOX_DONE: u8 = 9;
    pub(super) const JOIN: u8 = 13;
    pub(super) const BLOCK: u8 = 18;
    pub(super) const BLOCK_PUT: u8 = 19;
    pub(super) const SEEN: u8 = 20;
    pub(super) const LOGIN: u8 = 22;
    pub(super) const HOOKS_ON: u8 = 24;
    pub(super) const WEBHOOK_DELIVERED: u8 = 25;
    pub(super) const MAY_ADD: u8 = 26;
    pub(super) const NOT_ADDED: u8 = 27;
    pub(super) const WISH: u8 = 28;
    pub(super) const ACTIVE: u8 = 29;
    pub(super) const END_WATCH: u8 = 30;
}

/// Refuses a command above the protocol's size limit. The limit needs no proof of ownership.
pub(crate) fn too_large(size: usize) -> Option<CommandReply> {
    (size > limits::BODY_BYTES + COMMAND_SLACK).then(|| {
        CommandReply::refused(
            ErrorCode::TooLarge,
            format!("more than {} bytes", limits::BODY_BYTES),
        )
    })
}

/// Facts cached by the actor of a conversation.
#[derive(Debug, Default)]
pub(crate) struct PrecheckCache {
    /// `None` until the conversation's row was read, and while a command that may create it is in flight.
    exists: Option<bool>,
    non_members: HashSet<UserId>,
    /// Number of in-flight commands per user that may make the user a member.
    coming: HashMap<UserId, u32>,
    recent: HashMap<ClientMessageId, (UserId, CommandReply)>,
    recent_order: VecDeque<ClientMessageId>,
}

// === impl CommandHeader ===

impl<'a> CommandHeader<'a> {
    /// Decodes the prefix of a command that `ShardCommand::encode` wrote. An unknown version is an error.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<CommandHeader<'a>, String> {
        match bytes.split_first() {
            Some((1, rest)) => postcard::take_from_bytes(rest)
                .map(|(header, _)| header)
                .map_err(|error| error.to_string()),
            _ => Err("command of an unknown version".to_owned()),
        }
    }

    /// Returns true if the conversation's actor must see the command. Other commands concern a user's rows, the outbox,
    /// webhooks or a login.
    pub(crate) fn concerns_conversation(&self) -> bool {
        !matches!(
            self.op,
            op::RESERVE
                | op::INDEX_PUT
                | op::OUTBOX_DONE
                | op::BLOCK_PUT
                | op::SEEN
                | op::LOGIN
                | op::HOOKS_ON
                | op::WEBHOOK_DELIVERED
                | op::MAY_ADD
                | op::WISH
                | op::ACTIVE
                | op::END_WATCH
        )
    }

    /// Returns true if the command may make the user a member.
    fn may_admit(&self) -> bool {
        self.may_create() || self.op == op::JOIN
    }

    /// Returns true if a non-member's command may succeed because it creates the conversation.
    fn may_create(&self) -> bool {
        // A direct send creates the conversation on demand; the `d_` prefix marks it. `NotAdded` counts too: its client
        // message id may belong to a `create` that succeeded, whose result it must repeat.
        matches!(self.op, op::CREATE | op::NOT_ADDED) || self.op == op::SEND && self.conv.starts_with("d_")
    }
}

// === impl PrecheckCache ===

impl PrecheckCache {
    /// Returns the response to a command that need not enter the log, valid only if the epoch still lasts.
    pub(crate) fn answers(&self, header: &CommandHeader<'_>) -> Option<CommandReply> {
        // Client message ids are unique per user only: another user's command with the same id needs a log entry.
        if let Some(cid) = header.cid
            && let Some((user, answer)) = self.recent.get(cid)
            && user.as_str() == header.user
        {
            // Marked as a duplicate, as the state machine would mark it.
            let mut answer = answer.clone();
            if let CommandReply::Done { dup, .. } = &mut answer {
                *dup = true;
            }
            return Some(answer);
        }
        // A block concerns the direct conversation of two users, which need not exist.
        let exists = self.exists != Some(false) || header.may_create() || header.op == op::BLOCK;
        let non_member =
            self.non_members.contains(header.user) && !header.may_admit() && header.op != op::BLOCK;
        if !exists || non_member {
            return Some(CommandReply::refused(
                ErrorCode::NotMember,
                "not a member of this conversation".to_owned(),
            ));
        }
        None
    }

    /// Records the existence of the conversation's row, unless a decided command has set it already.
    pub(crate) fn activated(&mut self, exists: bool) {
        self.exists.get_or_insert(exists);
    }

    /// Records a command on its way to the log: later commands must not be refused for what it may change.
    pub(crate) fn proposed(&mut self, header: &CommandHeader<'_>) {
        // Unknown until the log decides: commands behind the `create` must reach the log.
        if header.may_create() && self.exists == Some(false) {
            self.exists = None;
        }
        if header.may_admit()
            && let Ok(user) = UserId::parse(header.user)
        {
            // A send pipelined behind this join must not fail on an older refusal.
            self.non_members.remove(&user);
            *self.coming.entry(user).or_default() += 1;
        }
    }

    /// Records the log's decision on a command.
    pub(crate) fn decided(&mut self, header: &CommandHeader<'_>, answer: &CommandReply) {
        let Ok(user) = UserId::parse(header.user) else {
            return;
        };
        if header.may_admit()
            && let Some(under_way) = self.coming.get_mut(&user)
        {
            *under_way -= 1;
            if *under_way == 0 {
                self.coming.remove(&user);
            }
        }
        match answer {
            CommandReply::Done { .. } => {
                // After a `block` the row may still be missing; a wrong `true` costs only log entries.
                self.exists = Some(true);
                let Some(cid) = header.cid.and_then(|cid| ClientMessageId::parse(cid).ok()) else {
                    return;
                };
                if self.recent.insert(cid.clone(), (user, answer.clone())).is_none() {
                    self.recent_order.push_back(cid);
                }
                if self.recent_order.len() > RECENT
                    && let Some(oldest) = self.recent_order.pop_front()
                {
                    self.recent.remove(&oldest);
                }
            }
            CommandReply::Refused { code, .. } => {
                let not_member = ErrorCode::ALL.get(usize::from(*code)) == Some(&ErrorCode::NotMember);
                // A refusal ahead of an in-flight join must not refuse the sends behind that join.
                if not_member && !self.coming.contains_key(&user) {
                    // Clearing is harmless: each forgotten non-member costs one log entry at the next command.
                    if self.non_members.len() >= NON_MEMBERS {
                        self.non_members.clear();
                    }
                    self.non_members.insert(user);
                }
            }
        }
    }

    /// Updates the cache from an event that is about to be fanned out.
    pub(crate) fn published(&mut self, event: &EventEnvelope) {
        if let Some(user) = &event.adds {
            self.non_members.remove(user);
        }
        if let Some(user) = &event.removes {
            // A removed user may not see the results of earlier commands; the state machine decides on repeats.
            self.recent.retain(|_, (known, _)| known != user);
            self.recent_order.retain(|cid| self.recent.contains_key(cid));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::ConversationId;

    use super::*;
    use crate::conversation::state_machine::consent::AdditionLimits;
    use crate::conversation::state_machine::{LoginCommand, ShardCommand, ShardOp};

    fn command(user: &str, cid: &str, op: ShardOp) -> Bytes {
        let (conv, user) = (
            ConversationId::parse("g_1").unwrap(),
            UserId::parse(user).unwrap(),
        );
        ShardCommand {
            conv,
            user,
            cid: Some(ClientMessageId::parse(cid).unwrap()),
            skip: 7,
            op,
        }
        .encode()
    }

    fn send() -> ShardOp {
        ShardOp::Send {
            direct: None,
            body: "{}".into(),
            reply_to: None,
            mentions: vec![],
        }
    }

    fn done(seq: u64, dup: bool) -> CommandReply {
        CommandReply::Done {
            seq,
            mn: seq,
            ts: 1,
            dup,
            reserved: None,
        }
    }

    #[test]
    fn a_command_is_peeked_as_it_was_encoded() {
        let bytes = command("alice", "c1", send());
        let header = CommandHeader::read(&bytes).unwrap();
        assert_eq!(
            (header.conv, header.user, header.cid, header.skip),
            ("g_1", "alice", Some("c1"), 7)
        );
        assert!(header.concerns_conversation() && !header.may_create());
        let create = ShardOp::Create {
            kind: protocol::ConversationKind::Group,
            members: vec![],
            title: None,
        };
        let who = || UserId::parse("b").unwrap();
        let version = crate::conversation::state_machine::OutboxId { index: 1, n: 0 };
        for (op, expected, concerns) in [
            (create, op::CREATE, true),
            (ShardOp::Delete { of: 1 }, 11, true),
            (ShardOp::Join, op::JOIN, true),
            (ShardOp::Block { who: who(), on: true }, op::BLOCK, true),
            (ShardOp::Reserve, op::RESERVE, false),
            (
                ShardOp::IndexPut {
                    member: true,
                    version,
                    at_ms: 1,
                },
                op::INDEX_PUT,
                false,
            ),
            (
                ShardOp::BlockPut {
                    who: who(),
                    on: true,
                    version,
                    at_ms: 1,
                },
                op::BLOCK_PUT,
                false,
            ),
            (ShardOp::OutboxDone { ids: vec![] }, op::OUTBOX_DONE, false),
            (ShardOp::HooksOn { members: 1 }, op::HOOKS_ON, false),
            (
                ShardOp::WebhookDelivered { ids: vec![] },
                op::WEBHOOK_DELIVERED,
                false,
            ),
            (ShardOp::Seen { at_ms: 1 }, op::SEEN, false),
            (
                ShardOp::MayAdd {
                    by: who(),
                    cid: ClientMessageId::parse("c").unwrap(),
                    shared: None,
                    bounds: AdditionLimits::default(),
                },
                op::MAY_ADD,
                false,
            ),
            (
                ShardOp::NotAdded {
                    who: None,
                    why: "".into(),
                },
                op::NOT_ADDED,
                true,
            ),
            (
                ShardOp::Wish {
                    group_invite: protocol::GroupInvite::NoOne,
                },
                op::WISH,
                false,
            ),
            (ShardOp::Login(LoginCommand::Sweep), op::LOGIN, false),
        ] {
            let bytes = command("a", "c", op);
            let header = CommandHeader::read(&bytes).unwrap();
            assert_eq!((header.op, header.concerns_conversation()), (expected, concerns));
        }
    }

    #[test]
    fn a_repeat_gets_the_first_result_until_the_user_is_removed() {
        let bytes = command("alice", "c1", send());
        let header = CommandHeader::read(&bytes).unwrap();
        let mut memory = PrecheckCache::default();
        assert_eq!(memory.answers(&header), None);
        memory.decided(&header, &done(5, false));
        assert_eq!(memory.answers(&header), Some(done(5, true)));
        let other = command("bob", "c1", send());
        assert_eq!(
            memory.answers(&CommandHeader::read(&other).unwrap()),
            None,
            "another user's id"
        );
        memory.published(&EventEnvelope {
            conv: ConversationId::parse("g_1").unwrap(),
            seq: 6,
            tail: Bytes::new(),
            removes: Some(UserId::parse("alice").unwrap()),
            adds: None,
            skip: 0,
            only: None,
        });
        assert_eq!(memory.answers(&header), None, "the rules decide");
    }

    #[test]
    fn a_non_member_is_refused_until_added() {
        let bytes = command("alice", "c1", send());
        let header = CommandHeader::read(&bytes).unwrap();
        let mut memory = PrecheckCache::default();
        let refused = CommandReply::refused(
            ErrorCode::NotMember,
            "not a member of this conversation".to_owned(),
        );
        memory.decided(&header, &refused);
        assert_eq!(memory.answers(&header), Some(refused));
        memory.published(&EventEnvelope {
            conv: ConversationId::parse("g_1").unwrap(),
            seq: 6,
            tail: Bytes::new(),
            removes: None,
            adds: Some(UserId::parse("alice").unwrap()),
            skip: 0,
            only: None,
        });
        assert_eq!(memory.answers(&header), None);
    }

    #[test]
    fn a_proposed_member_is_no_longer_refused() {
        let (send, join) = (
            command("alice", "c1", send()),
            command("alice", "c2", ShardOp::Join),
        );
        let (send, join) = (
            CommandHeader::read(&send).unwrap(),
            CommandHeader::read(&join).unwrap(),
        );
        let mut memory = PrecheckCache::default();
        let refused = CommandReply::refused(
            ErrorCode::NotMember,
            "not a member of this conversation".to_owned(),
        );
        memory.decided(&send, &refused);
        assert_eq!(memory.answers(&join), None, "the rules decide");
        memory.proposed(&join);
        memory.decided(&send, &refused);
        assert_eq!(memory.answers(&send), None, "behind the join");
        memory.decided(&join, &refused);
        assert_eq!(memory.answers(&send), Some(refused), "it was in vain");
    }

    #[test]
    fn a_block_needs_no_conversation() {
        let who = UserId::parse("bob").unwrap();
        let bytes = command("alice", "c1", ShardOp::Block { who, on: true });
        let mut memory = PrecheckCache::default();
        memory.activated(false);
        assert_eq!(memory.answers(&CommandHeader::read(&bytes).unwrap()), None);
    }

    #[test]
    fn in_a_missing_conversation_everybody_is_refused() {
        let bytes = command("alice", "c1", send());
        let header = CommandHeader::read(&bytes).unwrap();
        let mut memory = PrecheckCache::default();
        memory.activated(false);
        assert!(memory.answers(&header).is_some());
        let create = command(
            "bob",
            "c2",
            ShardOp::Create {
                kind: protocol::ConversationKind::Group,
                members: vec![],
                title: None,
            },
        );
        memory.proposed(&CommandHeader::read(&create).unwrap());
        assert_eq!(memory.answers(&header), None, "it is being made");
        memory.decided(&CommandHeader::read(&create).unwrap(), &done(1, false));
        assert_eq!(memory.answers(&header), None);
    }
}
