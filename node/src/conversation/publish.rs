//! Step 5 of the life of a message: the conversation's actor looks at it before the log does.
//!
//! Comes from [`route`](super::route) (step 4), through the [shard's actor](super::shard); goes to
//! [`cluster::shard::propose`] (step 6) with everything else that the shard has ready.
//!
//! What is refused here would be refused by the rules too: the actor spares the log what it knows to be useless. It
//! knows only what is exact while the epoch lasts, because every change of the conversation passes through it: who was
//! refused as a stranger and has not been added since, which client ids were just done, that there is no such
//! conversation. Whether the epoch still lasts is asked before it says so: a node that was paused may have been deposed.

use std::collections::{HashMap, HashSet, VecDeque};

use protocol::{Cid, ErrorCode, UserId, limits};
use serde::Deserialize;

use super::timeline::Published;
use crate::rpc::submit::Answer;

/// Client ids remembered per conversation: what a lane may send again after a lost answer.
const RECENT: usize = 512;
/// Strangers remembered per conversation.
const STRANGERS: usize = 256;
/// What a command may be longer than its body: ids, mentions.
const COMMAND_SLACK: usize = 8 * 1024;

/// The beginning of an encoded command, read in place.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Peek<'a> {
    /// The conversation.
    pub(crate) conv: &'a str,
    /// Who.
    pub(crate) user: &'a str,
    /// The client message id.
    pub(crate) cid: Option<&'a str>,
    /// The session that wants no echo.
    pub(crate) skip: u64,
    /// Number of the operation.
    op: u8,
}

/// The operations by their numbers in the encoding, as far as they matter here.
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
    pub(super) const HOOKS_TOLD: u8 = 25;
    pub(super) const MAY_ADD: u8 = 26;
    pub(super) const NOT_ADDED: u8 = 27;
    pub(super) const WISH: u8 = 28;
    pub(super) const ACTIVE: u8 = 29;
    pub(super) const END_WATCH: u8 = 30;
}

/// Refuses a command that is too large, whoever owns the shard.
pub(crate) fn too_large(size: usize) -> Option<Answer> {
    (size > limits::BODY_BYTES + COMMAND_SLACK).then(|| {
        Answer::refused(
            ErrorCode::TooLarge,
            format!("more than {} bytes", limits::BODY_BYTES),
        )
    })
}

/// What a conversation's actor remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// `None` until the row was read.
    exists: Option<bool>,
    strangers: HashSet<UserId>,
    /// Users with commands under way that may make them members, and how many.
    coming: HashMap<UserId, u32>,
    recent: HashMap<Cid, (UserId, Answer)>,
    recent_order: VecDeque<Cid>,
}

// === impl Peek ===

impl<'a> Peek<'a> {
    /// Reads the beginning of a command that [`Command::encode`](super::timeline::Command::encode) wrote.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Peek<'a>, String> {
        match bytes.split_first() {
            Some((1, rest)) => postcard::take_from_bytes(rest)
                .map(|(peek, _)| peek)
                .map_err(|error| error.to_string()),
            _ => Err("command of an unknown version".to_owned()),
        }
    }

    /// Whether a conversation's actor sees the command; the others concern a user's rows, the outbox or a login.
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
                | op::HOOKS_TOLD
                | op::MAY_ADD
                | op::WISH
                | op::ACTIVE
                | op::END_WATCH
        )
    }

    /// Whether it may make the user a member.
    fn may_admit(&self) -> bool {
        self.may_create() || self.op == op::JOIN
    }

    /// Whether a stranger's command may succeed because it makes the conversation.
    fn may_create(&self) -> bool {
        // A direct send makes the conversation at need; the id says that it is one. What was not consented to may have
        // been done before.
        matches!(self.op, op::CREATE | op::NOT_ADDED) || self.op == op::SEND && self.conv.starts_with("d_")
    }
}

// === impl Memory ===

impl Memory {
    /// Answers a command that need not go through the log, if the epoch still lasts.
    pub(crate) fn answers(&self, peek: &Peek<'_>) -> Option<Answer> {
        if let Some(cid) = peek.cid
            && let Some((user, answer)) = self.recent.get(cid)
            && user.as_str() == peek.user
        {
            let mut answer = answer.clone();
            if let Answer::Done { dup, .. } = &mut answer {
                *dup = true;
            }
            return Some(answer);
        }
        let exists = self.exists != Some(false) || peek.may_create() || peek.op == op::BLOCK;
        let stranger = self.strangers.contains(peek.user) && !peek.may_admit() && peek.op != op::BLOCK;
        if !exists || stranger {
            return Some(Answer::refused(
                ErrorCode::NotMember,
                "not a member of this conversation".to_owned(),
            ));
        }
        None
    }

    /// The conversation's row was read.
    pub(crate) fn activated(&mut self, exists: bool) {
        self.exists.get_or_insert(exists);
    }

    /// A command goes to the log: what it may make has to be reckoned with from now on.
    pub(crate) fn proposed(&mut self, peek: &Peek<'_>) {
        if peek.may_create() && self.exists == Some(false) {
            self.exists = None;
        }
        if peek.may_admit()
            && let Ok(user) = UserId::parse(peek.user)
        {
            self.strangers.remove(&user);
            *self.coming.entry(user).or_default() += 1;
        }
    }

    /// A command was decided by the log.
    pub(crate) fn decided(&mut self, peek: &Peek<'_>, answer: &Answer) {
        let Ok(user) = UserId::parse(peek.user) else {
            return;
        };
        if peek.may_admit()
            && let Some(under_way) = self.coming.get_mut(&user)
        {
            *under_way -= 1;
            if *under_way == 0 {
                self.coming.remove(&user);
            }
        }
        match answer {
            Answer::Done { .. } => {
                self.exists = Some(true);
                let Some(cid) = peek.cid.and_then(|cid| Cid::parse(cid).ok()) else {
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
            Answer::Refused { code, .. } => {
                let not_member = ErrorCode::ALL.get(usize::from(*code)) == Some(&ErrorCode::NotMember);
                if not_member && !self.coming.contains_key(&user) {
                    if self.strangers.len() >= STRANGERS {
                        self.strangers.clear();
                    }
                    self.strangers.insert(user);
                }
            }
        }
    }

    /// An event is about to be fanned out.
    pub(crate) fn published(&mut self, event: &Published) {
        if let Some(user) = &event.adds {
            self.strangers.remove(user);
        }
        if let Some(user) = &event.removes {
            // What they did may no longer be told them.
            self.recent.retain(|_, (known, _)| known != user);
            self.recent_order.retain(|cid| self.recent.contains_key(cid));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::ConvId;

    use super::super::timeline::consent::Bounds;
    use super::super::timeline::{Command, Login, Op};
    use super::*;

    fn command(user: &str, cid: &str, op: Op) -> Bytes {
        let (conv, user) = (ConvId::parse("g_1").unwrap(), UserId::parse(user).unwrap());
        Command {
            conv,
            user,
            cid: Some(Cid::parse(cid).unwrap()),
            skip: 7,
            op,
        }
        .encode()
    }

    fn send() -> Op {
        Op::Send {
            direct: None,
            body: "{}".into(),
            reply_to: None,
            mentions: vec![],
        }
    }

    fn done(seq: u64, dup: bool) -> Answer {
        Answer::Done {
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
        let peek = Peek::read(&bytes).unwrap();
        assert_eq!(
            (peek.conv, peek.user, peek.cid, peek.skip),
            ("g_1", "alice", Some("c1"), 7)
        );
        assert!(peek.concerns_conversation() && !peek.may_create());
        let create = Op::Create {
            kind: protocol::Kind::Group,
            members: vec![],
            title: None,
        };
        let who = || UserId::parse("b").unwrap();
        let version = super::super::timeline::OutboxId { index: 1, n: 0 };
        for (op, expected, concerns) in [
            (create, op::CREATE, true),
            (Op::Delete { of: 1 }, 11, true),
            (Op::Join, op::JOIN, true),
            (Op::Block { who: who(), on: true }, op::BLOCK, true),
            (Op::Reserve, op::RESERVE, false),
            (
                Op::IndexPut {
                    member: true,
                    version,
                    at_ms: 1,
                },
                op::INDEX_PUT,
                false,
            ),
            (
                Op::BlockPut {
                    who: who(),
                    on: true,
                    version,
                    at_ms: 1,
                },
                op::BLOCK_PUT,
                false,
            ),
            (Op::OutboxDone { ids: vec![] }, op::OUTBOX_DONE, false),
            (Op::HooksOn { members: 1 }, op::HOOKS_ON, false),
            (Op::HooksTold { ids: vec![] }, op::HOOKS_TOLD, false),
            (Op::Seen { at_ms: 1 }, op::SEEN, false),
            (
                Op::MayAdd {
                    by: who(),
                    cid: Cid::parse("c").unwrap(),
                    shared: None,
                    bounds: Bounds::default(),
                },
                op::MAY_ADD,
                false,
            ),
            (
                Op::NotAdded {
                    who: None,
                    why: "".into(),
                },
                op::NOT_ADDED,
                true,
            ),
            (
                Op::Wish {
                    group_invite: protocol::GroupInvite::Nobody,
                },
                op::WISH,
                false,
            ),
            (Op::Login(Login::Sweep), op::LOGIN, false),
        ] {
            let bytes = command("a", "c", op);
            let peek = Peek::read(&bytes).unwrap();
            assert_eq!((peek.op, peek.concerns_conversation()), (expected, concerns));
        }
    }

    #[test]
    fn a_repeat_gets_the_first_result_until_the_user_is_removed() {
        let bytes = command("alice", "c1", send());
        let peek = Peek::read(&bytes).unwrap();
        let mut memory = Memory::default();
        assert_eq!(memory.answers(&peek), None);
        memory.decided(&peek, &done(5, false));
        assert_eq!(memory.answers(&peek), Some(done(5, true)));
        let other = command("bob", "c1", send());
        assert_eq!(
            memory.answers(&Peek::read(&other).unwrap()),
            None,
            "another user's id"
        );
        memory.published(&Published {
            conv: ConvId::parse("g_1").unwrap(),
            seq: 6,
            tail: Bytes::new(),
            removes: Some(UserId::parse("alice").unwrap()),
            adds: None,
            skip: 0,
            only: None,
        });
        assert_eq!(memory.answers(&peek), None, "the rules decide");
    }

    #[test]
    fn a_stranger_is_one_until_added() {
        let bytes = command("alice", "c1", send());
        let peek = Peek::read(&bytes).unwrap();
        let mut memory = Memory::default();
        let refused = Answer::refused(
            ErrorCode::NotMember,
            "not a member of this conversation".to_owned(),
        );
        memory.decided(&peek, &refused);
        assert_eq!(memory.answers(&peek), Some(refused));
        memory.published(&Published {
            conv: ConvId::parse("g_1").unwrap(),
            seq: 6,
            tail: Bytes::new(),
            removes: None,
            adds: Some(UserId::parse("alice").unwrap()),
            skip: 0,
            only: None,
        });
        assert_eq!(memory.answers(&peek), None);
    }

    #[test]
    fn one_who_is_coming_is_no_stranger_whatever_was_refused_before() {
        let (send, join) = (command("alice", "c1", send()), command("alice", "c2", Op::Join));
        let (send, join) = (Peek::read(&send).unwrap(), Peek::read(&join).unwrap());
        let mut memory = Memory::default();
        let refused = Answer::refused(
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
        let bytes = command("alice", "c1", Op::Block { who, on: true });
        let mut memory = Memory::default();
        memory.activated(false);
        assert_eq!(memory.answers(&Peek::read(&bytes).unwrap()), None);
    }

    #[test]
    fn in_a_conversation_that_is_not_there_everybody_is_a_stranger() {
        let bytes = command("alice", "c1", send());
        let peek = Peek::read(&bytes).unwrap();
        let mut memory = Memory::default();
        memory.activated(false);
        assert!(memory.answers(&peek).is_some());
        let create = command(
            "bob",
            "c2",
            Op::Create {
                kind: protocol::Kind::Group,
                members: vec![],
                title: None,
            },
        );
        memory.proposed(&Peek::read(&create).unwrap());
        assert_eq!(memory.answers(&peek), None, "it is being made");
        memory.decided(&Peek::read(&create).unwrap(), &done(1, false));
        assert_eq!(memory.answers(&peek), None);
    }
}
