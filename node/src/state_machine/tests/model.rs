//! Random sequences of commands against a model that knows only the published events.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use proptest::prelude::*;
use protocol::event::MessageEvent;
use protocol::{
    Body, ClientMessageId, ConversationId, ConversationKind, ErrorCode, Event, HistoryVisibility,
    MembershipChange, MessageState, Role, UserId,
};

use super::query;
use super::{Map, TestCommand, TestResult, TestShard, create, parse, u};
use crate::state_machine::query::{HistoryRange, LoggedEvent, QueryError};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{ConvRow, VersionedRow};
use crate::state_machine::{
    ChatTable, CommandHeader, ConversationOp, ErasedMessages, ErasureOp, EventEnvelope, ShardCommand,
    ShardOutcome,
};

const USERS: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];

/// What one sees who only watches the events.
#[derive(Default)]
struct Model {
    logs: BTreeMap<ConversationId, Vec<(Bytes, Event)>>,
    /// Role and the first visible event.
    members: HashMap<(ConversationId, UserId), (Role, u64)>,
    results: HashMap<(ConversationId, UserId, ClientMessageId), (u64, u64, u64)>,
    cursors: HashMap<(ConversationId, UserId), (u64, u64)>,
    /// What is shown of each message, in the order of the log.
    messages: BTreeMap<(ConversationId, u64), MessageState>,
    reactions: HashMap<(ConversationId, u64, UserId, String), u64>,
    /// In groups and channels those who are banned, in direct conversations those whom the other blocks.
    blocked_or_banned: BTreeSet<(ConversationId, UserId)>,
    titles: HashMap<ConversationId, Option<String>>,
    open_history: HashMap<ConversationId, bool>,
    /// Muted and pinned.
    own: HashMap<(ConversationId, UserId), (bool, bool)>,
    /// The first event that is there, and the ordinal of the last message that is gone.
    floors: HashMap<ConversationId, (u64, u64)>,
    erased: BTreeSet<(ConversationId, UserId)>,
}

#[derive(Clone, Debug)]
enum Step {
    Send {
        mentions: Vec<usize>,
        reply: Option<u64>,
    },
    To {
        peer: usize,
    },
    Create {
        members: Vec<usize>,
    },
    Invite(usize),
    Kick(usize),
    Leave,
    Read(u64),
    Delivered(u64),
    Edit(u64, Option<Vec<usize>>),
    Delete(u64),
    React(u64, u8, bool, Option<usize>),
    Join,
    Ban(usize),
    Unban(usize),
    SetRole(usize, usize),
    Set {
        title: Option<u8>,
        history: Option<bool>,
        muted: Option<bool>,
        pinned: Option<bool>,
    },
    Block(usize, bool),
    Retain(u64),
    Erase(ErasedMessages),
}

fn conv(which: usize) -> ConversationId {
    match which {
        0 => ConversationId::parse("g_1").unwrap(),
        1 => ConversationId::parse("g_2").unwrap(),
        2 => ConversationId::parse("ch_1").unwrap(),
        _ => ConversationId::direct(&u(USERS[0]), &u(USERS[which - 2])),
    }
}

/// User, conversation, a cid to be used again, and what is done.
type Action = (usize, usize, Option<u8>, Step);

fn batches() -> impl Strategy<Value = Vec<Vec<Action>>> {
    let user = || 0..USERS.len();
    let users = || proptest::collection::vec(user(), 0..3);
    let step = prop_oneof![
        8 => (users(), proptest::option::weighted(0.2, 0..40u64)).prop_map(|(mentions, reply)| Step::Send { mentions, reply }),
        3 => user().prop_map(|peer| Step::To { peer }),
        3 => users().prop_map(|members| Step::Create { members }),
        3 => user().prop_map(Step::Invite),
        2 => user().prop_map(Step::Kick),
        1 => Just(Step::Leave),
        3 => (0..40u64).prop_map(Step::Read),
        3 => (0..40u64).prop_map(Step::Delivered),
        4 => (0..40u64, proptest::option::of(users())).prop_map(|(of, mentions)| Step::Edit(of, mentions)),
        2 => (0..40u64).prop_map(Step::Delete),
        4 => (0..40u64, 0..2u8, any::<bool>(), proptest::option::weighted(0.2, user()))
            .prop_map(|(of, k, on, who)| Step::React(of, k, on, who)),
        3 => Just(Step::Join),
        2 => user().prop_map(Step::Ban),
        2 => user().prop_map(Step::Unban),
        3 => (user(), 0..4usize).prop_map(|(who, role)| Step::SetRole(who, role)),
        2 => (any::<Option<u8>>(), any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>())
            .prop_map(|(title, history, muted, pinned)| Step::Set { title, history, muted, pinned }),
        2 => (user(), any::<bool>()).prop_map(|(who, on)| Step::Block(who, on)),
        2 => (0..30u64).prop_map(Step::Retain),
        1 => any::<bool>().prop_map(|delete| Step::Erase(match delete {
            true => ErasedMessages::Delete,
            false => ErasedMessages::KeepAnonymous,
        })),
    ];
    // A small space of cids, so that they are used again; `None` stands for a fresh one.
    let command = (user(), 0..4usize, proptest::option::weighted(0.2, 0..4u8), step);
    proptest::collection::vec(proptest::collection::vec(command, 1..6), 1..40)
}

fn op(user: usize, which: usize, step: &Step) -> (ConversationId, ConversationOp) {
    let conv = conv(which);
    let names = |users: &[usize]| users.iter().map(|user| USERS[*user]).collect::<Vec<_>>();
    let send = |direct, mentions: &[usize], reply_to| ConversationOp::Send {
        direct,
        body: "{\"x\":1}".into(),
        reply_to,
        mentions: names(mentions).into_iter().map(u).collect(),
    };
    match step {
        Step::Send { mentions, reply } => (conv, send(None, mentions, *reply)),
        Step::To { peer } => {
            let conv = ConversationId::direct(&u(USERS[user]), &u(USERS[*peer]));
            (conv, send(Some(u(USERS[*peer])), &[], None))
        }
        Step::Create { members } => {
            let kind = conv.kind().unwrap();
            let members = if kind == ConversationKind::Direct {
                vec![USERS[1]]
            } else {
                names(members)
            };
            (conv, create(kind, &members))
        }
        Step::Invite(who) => (conv, ConversationOp::Invite { who: u(USERS[*who]) }),
        Step::Kick(who) => (conv, ConversationOp::Kick { who: u(USERS[*who]) }),
        Step::Leave => (conv, ConversationOp::Leave),
        Step::Read(s) => (conv, ConversationOp::Read { s: *s }),
        Step::Delivered(s) => (conv, ConversationOp::Delivered { s: *s }),
        Step::Edit(of, mentions) => (
            conv,
            ConversationOp::Edit {
                of: *of,
                body: format!("{{\"edit\":{of}}}").into(),
                mentions: mentions
                    .as_deref()
                    .map(|mentions| names(mentions).into_iter().map(u).collect()),
            },
        ),
        Step::Delete(of) => (conv, ConversationOp::Delete { of: *of }),
        Step::React(of, k, on, who) => (
            conv,
            ConversationOp::React {
                of: *of,
                k: format!("k{k}").into(),
                on: *on,
                who: who.map(|who| u(USERS[who])),
            },
        ),
        Step::Join => (conv, ConversationOp::Join),
        Step::Ban(who) => (conv, ConversationOp::Ban { who: u(USERS[*who]) }),
        Step::Unban(who) => (conv, ConversationOp::Unban { who: u(USERS[*who]) }),
        Step::SetRole(who, role) => {
            let (who, role) = (u(USERS[*who]), Role::ALL[*role]);
            let role = Some(role);
            (
                conv,
                ConversationOp::SetRole {
                    who,
                    role,
                    data: None,
                },
            )
        }
        Step::Set {
            title,
            history,
            muted,
            pinned,
        } => {
            // Now and then the title is removed.
            let title = title.map(|title| {
                if title % 4 == 0 {
                    String::new()
                } else {
                    title.to_string()
                }
            });
            let history = history.map(|all| {
                if all {
                    HistoryVisibility::All
                } else {
                    HistoryVisibility::Joined
                }
            });
            let (muted, pinned) = (*muted, *pinned);
            (
                conv,
                ConversationOp::Set {
                    title,
                    history,
                    muted,
                    pinned,
                    data: None,
                },
            )
        }
        Step::Block(who, on) => {
            let (who, on) = (u(USERS[*who]), *on);
            (
                ConversationId::direct(&u(USERS[user]), &who),
                ConversationOp::Block { who, on },
            )
        }
        Step::Retain(_) | Step::Erase(_) => unreachable!("no operation of a user"),
    }
}

/// A command, or what retention or an erasure does to a conversation.
#[derive(Clone, Debug)]
enum ModelCommand {
    Op(TestCommand),
    Retain(ConversationId, u64),
    Erase(ConversationId, UserId, ErasedMessages),
}

/// The id that stands for an erased user.
fn tombstone(user: &UserId) -> UserId {
    UserId::tombstone(&[user.as_str().as_bytes()[0]; 16])
}

impl From<ModelCommand> for ShardCommand {
    fn from(command: ModelCommand) -> ShardCommand {
        match command {
            ModelCommand::Op(command) => command.into(),
            ModelCommand::Retain(conv, below) => super::retain(conv, below),
            ModelCommand::Erase(conversation, user, messages) => ShardCommand::Erasure(ErasureOp::EraseIn {
                conversation,
                tombstone: tombstone(&user),
                user,
                messages,
            }),
        }
    }
}

fn command(user: usize, which: usize, cid: ClientMessageId, step: &Step) -> ModelCommand {
    if let Step::Retain(below) = step {
        return ModelCommand::Retain(conv(which), *below);
    }
    if let Step::Erase(messages) = step {
        return ModelCommand::Erase(conv(which), u(USERS[user]), *messages);
    }
    let (conv, op) = op(user, which, step);
    ModelCommand::Op(TestCommand {
        conv,
        user: u(USERS[user]),
        cid: Some(cid),
        skip: 0,
        op,
    })
}

impl Model {
    /// Checks one outcome against what was known, and learns from it.
    fn see(&mut self, command: &ModelCommand, outcome: &ShardOutcome) {
        let command = match command {
            ModelCommand::Op(command) => command,
            ModelCommand::Retain(conv, below) => {
                let there = self.logs.contains_key(conv);
                assert_eq!(matches!(outcome, ShardOutcome::Retention(_)), there);
                if there {
                    self.retain(conv, *below);
                }
                return;
            }
            ModelCommand::Erase(conv, user, messages) => {
                let ShardOutcome::Erasure(erased) = outcome else {
                    panic!("{outcome:?}")
                };
                assert!(erased.step.done, "no log of the model takes two steps");
                self.learn_all(&erased.events);
                self.erase(conv, user, *messages);
                return;
            }
        };
        let key = (command.conv.clone(), command.user.clone());
        let role = self.members.get(&key).map(|(role, _)| *role);
        let applied = match outcome {
            ShardOutcome::Conversation(applied) => &TestResult::from(applied.clone()),
            ShardOutcome::Refused(code, _) => {
                // Making a conversation and coming have refusals of their own, and one's blocks are no matter of a
                // membership.
                let own = matches!(
                    command.op,
                    ConversationOp::Create { .. }
                        | ConversationOp::Send { direct: Some(_), .. }
                        | ConversationOp::Join
                        | ConversationOp::Block { .. }
                );
                assert!(
                    own || (*code == ErrorCode::NotMember) == role.is_none(),
                    "{command:?} {code}"
                );
                return;
            }
            other => panic!("{command:?}: {other:?}"),
        };
        if let ConversationOp::Block { who, on } = &command.op {
            let key = (command.conv.clone(), who.clone());
            if *on {
                self.blocked_or_banned.insert(key);
            } else {
                self.blocked_or_banned.remove(&key);
            }
            return;
        }
        let cid = command.cid.clone().unwrap();
        let cursor = matches!(
            command.op,
            ConversationOp::Read { .. } | ConversationOp::Delivered { .. }
        );
        let first = self
            .results
            .get(&(command.conv.clone(), command.user.clone(), cid.clone()));
        if let (Some(first), false) = (first, cursor) {
            assert_eq!(
                (applied.s, applied.mn, applied.ts, applied.dup),
                (first.0, first.1, first.2, true)
            );
            assert!(applied.events.is_empty());
            return;
        }
        if cursor {
            assert!(role.is_some(), "{command:?}");
            return;
        }
        if applied.dup {
            self.check_result(command, applied);
            let result = (applied.s, applied.mn, applied.ts);
            if !matches!(command.op, ConversationOp::Create { .. }) {
                self.results
                    .insert((command.conv.clone(), command.user.clone(), cid), result);
            }
            return;
        }
        self.permitted(command, role);
        self.learn_all(&applied.events);
        let TestResult { s, mn, ts, .. } = *applied;
        if let ConversationOp::Set { muted, pinned, .. } = &command.op {
            let own = self.own.entry(key).or_default();
            *own = (muted.unwrap_or(own.0), pinned.unwrap_or(own.1));
        }
        if s > 0 {
            assert_eq!(s, self.logs[&command.conv].len() as u64);
        } else {
            let ConversationOp::Set {
                title: None,
                history: None,
                ..
            } = command.op
            else {
                panic!("{command:?} made no event")
            };
        }
        self.results
            .insert((command.conv.clone(), command.user.clone(), cid), (s, mn, ts));
    }

    /// Learns from the events of a command, which a node that missed them routes in the same way.
    fn learn_all(&mut self, events: &[EventEnvelope]) {
        for published in events.iter().filter(|published| published.seq > 0) {
            let logged = LoggedEvent {
                s: published.seq,
                tail: published.tail.clone(),
            };
            let replayed = EventEnvelope::replay(published.conv.clone(), logged);
            // The ban of a non-member removes nobody; the event alone does not show that.
            let is_member = |who: &UserId| self.members.contains_key(&(published.conv.clone(), who.clone()));
            let removes = replayed.removes.filter(is_member);
            assert_eq!(
                (&replayed.adds, &removes),
                (&published.adds, &published.removes),
                "a node that missed the event would route it differently"
            );
            self.learn(published.conv.clone(), published.seq, &published.tail);
        }
    }

    /// Forgets a user in a conversation, after the events of the erasure.
    fn erase(&mut self, conv: &ConversationId, user: &UserId, messages: ErasedMessages) {
        let Some(log) = self.logs.get_mut(conv) else {
            return;
        };
        let (floor, _) = self.floors.get(conv).copied().unwrap_or((1, 0));
        let other = tombstone(user);
        for (tail, event) in log.iter_mut() {
            if let Event::Msg(msg) = event
                && msg.user == *user
                && msg.seq >= floor
            {
                assert!(msg.deleted || messages == ErasedMessages::KeepAnonymous);
            }
            if event.replace_user(user, &other) {
                *tail = event.tail().into();
            }
        }
        let replace = |field: &mut UserId| {
            if field == user {
                *field = other.clone();
            }
        };
        for ((c, _), message) in &mut self.messages {
            if c == conv {
                replace(&mut message.user);
                message.mentions.iter_mut().for_each(replace);
            }
        }
        let reactions = std::mem::take(&mut self.reactions);
        let replaced = reactions.into_iter().map(|((c, of, mut who, k), s)| {
            if c == *conv {
                replace(&mut who);
            }
            ((c, of, who, k), s)
        });
        self.reactions = replaced.collect();
        self.results.retain(|(c, who, _), _| (c, who) != (conv, user));
        self.blocked_or_banned.remove(&(conv.clone(), user.clone()));
        assert!(!self.members.contains_key(&(conv.clone(), user.clone())));
        self.erased.insert((conv.clone(), user.clone()));
    }

    /// Forgets what goes.
    fn retain(&mut self, conv: &ConversationId, below: u64) {
        let log = &self.logs[conv];
        let (last, (floor, gone)) = (log.len() as u64, self.floors.get(conv).copied().unwrap_or((1, 0)));
        // A quarter of what is there at most.
        let below = below.min(floor + (last + 1 - floor).div_ceil(4));
        let floor = below.min(last).max(floor);
        let up_to = if below > last { last } else { floor - 1 };
        let mn = |(_, event): &(Bytes, Event)| match event {
            Event::Msg(msg) => Some(msg.message_number),
            _ => None,
        };
        let gone = log[..up_to as usize]
            .iter()
            .rev()
            .find_map(mn)
            .unwrap_or(0)
            .max(gone);
        self.floors.insert(conv.clone(), (floor, gone));
        self.messages.retain(|(c, s), _| c != conv || *s >= floor);
        self.reactions.retain(|(c, s, ..), _| c != conv || *s >= floor);
        let nothing = Body::new("{}").unwrap();
        for (tail, event) in self.logs.get_mut(conv).expect("a log") {
            match event {
                Event::Msg(msg) if msg.seq <= up_to && msg.seq >= floor && !msg.deleted => {
                    (msg.body, msg.deleted, msg.mentions) = (nothing.clone(), true, vec![]);
                    self.messages
                        .insert((conv.clone(), msg.seq), MessageState::from(msg.clone()));
                }
                Event::Edit(edit) if edit.target_seq < floor || edit.seq == up_to && edit.seq >= floor => {
                    (edit.body, edit.mentions, edit.deleted) = (nothing.clone(), None, true);
                    if let Some(state) = self.messages.get_mut(&(conv.clone(), edit.target_seq)) {
                        state.body = nothing.clone();
                    }
                }
                _ => continue,
            }
            *tail = event.tail().into();
        }
    }

    /// What is acknowledged without an event is so already.
    fn check_result(&self, command: &TestCommand, applied: &TestResult) {
        assert!(applied.events.is_empty());
        match &command.op {
            ConversationOp::Create { .. } => {}
            ConversationOp::Delete { of } => {
                assert!(self.messages[&(command.conv.clone(), *of)].deleted);
                let event = &self.logs[&command.conv][applied.s as usize - 1].1;
                // Of what retention took the event is the message itself.
                assert!(matches!(event, Event::Del(del) if del.target_seq == *of) || applied.s == *of);
            }
            ConversationOp::React { of, k, on, who } => {
                let who = who.as_ref().unwrap_or(&command.user);
                let reaction = (command.conv.clone(), *of, who.clone(), k.to_string());
                let known = self.reactions.get(&reaction).copied();
                assert_eq!((known.is_some(), known.unwrap_or(0)), (*on, applied.s));
            }
            other => panic!("{other:?}"),
        }
    }

    /// The table of the protocol, said once more.
    fn permitted(&self, command: &TestCommand, role: Option<Role>) {
        let new = !self.logs.contains_key(&command.conv);
        let of = |who: &UserId| (command.conv.clone(), who.clone());
        let target = |who| self.members.get(&of(who)).map(|(role, _)| *role);
        let above = |target| role == Some(Role::Owner) || role == Some(Role::Admin) && target > Role::Admin;
        let blocked = self.blocked_or_banned.contains(&of(&command.user));
        match &command.op {
            ConversationOp::Send { direct, .. } => {
                assert!(!blocked);
                assert!(
                    new && direct.is_some() || matches!(role, Some(Role::Owner | Role::Admin | Role::Member))
                );
            }
            ConversationOp::Create { .. } => assert!(new && !blocked),
            ConversationOp::Invite { who } => {
                assert!(above(Role::Reader) && !self.blocked_or_banned.contains(&of(who)));
            }
            ConversationOp::Edit { of, .. } => {
                let message = &self.messages[&(command.conv.clone(), *of)];
                assert!(message.user == command.user && !message.deleted && role != Some(Role::Reader));
                assert!(!blocked);
            }
            ConversationOp::Delete { of } => {
                let own = self.messages[&(command.conv.clone(), *of)].user == command.user;
                assert!(matches!(role, Some(Role::Owner | Role::Admin)) || own && role == Some(Role::Member));
            }
            ConversationOp::React { of, on, who, .. } => {
                if who.as_ref().is_some_and(|who| *who != command.user) {
                    assert!(!on && matches!(role, Some(Role::Owner | Role::Admin)));
                }
                assert!(role.is_some() && !self.messages[&(command.conv.clone(), *of)].deleted);
                assert!(!blocked);
            }
            ConversationOp::Join => {
                assert!(command.conv.kind() == Some(ConversationKind::Channel) && role.is_none() && !blocked)
            }
            ConversationOp::Kick { who } => assert!(above(target(who).expect("a member"))),
            ConversationOp::Ban { who } => assert!(above(target(who).unwrap_or(Role::Reader))),
            ConversationOp::Unban { who } => {
                assert!(above(Role::Reader) && self.blocked_or_banned.contains(&of(who)))
            }
            ConversationOp::SetRole { who, role, .. } => {
                assert!(above(target(who).expect("a member")) && above(role.expect("of each step")))
            }
            ConversationOp::Set {
                title: None,
                history: None,
                ..
            } => assert!(role.is_some()),
            ConversationOp::Set { .. } => assert!(above(Role::Reader)),
            ConversationOp::Read { .. }
            | ConversationOp::Delivered { .. }
            | ConversationOp::Leave
            | ConversationOp::Block { .. } => assert!(role.is_some()),
            // No step proposes these.
            ConversationOp::NotAdded { .. }
            | ConversationOp::Hook { .. }
            | ConversationOp::PutMember { .. } => {
                panic!("{:?}", command.op)
            }
        }
    }

    /// Learns what has become of a message, and what the log shows of it from now on.
    fn fold(&mut self, conv: &ConversationId, event: &Event) {
        let message = |of: u64| (conv.clone(), of);
        match event {
            Event::Msg(msg) => {
                self.messages
                    .insert(message(msg.seq), MessageState::from(msg.clone()));
            }
            Event::Edit(edit) => {
                let state = self
                    .messages
                    .get_mut(&message(edit.target_seq))
                    .expect("a message");
                (state.body, state.edited_timestamp_ms) = (edit.body.clone(), Some(edit.timestamp_ms));
                if let Some(mentions) = &edit.mentions {
                    state.mentions = mentions.clone();
                }
            }
            Event::React(react) => {
                let state = self
                    .messages
                    .get_mut(&message(react.target_seq))
                    .expect("a message");
                let count = state.reactions.remove(&react.reaction).unwrap_or(0);
                let count = if react.active { count + 1 } else { count - 1 };
                if count > 0 {
                    state.reactions.insert(react.reaction.clone(), count);
                }
                let reaction = (
                    conv.clone(),
                    react.target_seq,
                    react.user.clone(),
                    react.reaction.clone(),
                );
                let known = match react.active {
                    true => self.reactions.insert(reaction, react.seq),
                    false => self.reactions.remove(&reaction),
                };
                assert_eq!(known.is_none(), react.active, "counted twice");
            }
            Event::Del(del) => {
                let nothing = Body::new("{}").unwrap();
                let log = self.logs.get_mut(conv).expect("a log");
                for (tail, event) in log.iter_mut() {
                    match event {
                        Event::Msg(msg) if msg.seq == del.target_seq => {
                            (msg.body, msg.deleted, msg.mentions) = (nothing.clone(), true, vec![]);
                            self.messages
                                .insert(message(msg.seq), MessageState::from(msg.clone()));
                        }
                        Event::Edit(edit) if edit.target_seq == del.target_seq => {
                            (edit.body, edit.mentions, edit.deleted) = (nothing.clone(), None, true);
                        }
                        _ => continue,
                    }
                    *tail = event.tail().into();
                }
            }
            // Without a wildcard: another durable event may change messages, too.
            Event::Meta(_)
            | Event::Member(_)
            | Event::Conv(_)
            | Event::Activity(_)
            | Event::Receipt(_)
            | Event::Typing(_)
            | Event::Presence(_)
            | Event::Profile(_)
            | Event::Resync(_)
            | Event::Bye(_) => {}
        }
    }

    fn learn(&mut self, conv: ConversationId, seq: u64, tail: &Bytes) {
        let log = self.logs.entry(conv.clone()).or_default();
        let event = parse(tail);
        let last = log.iter().rev().find_map(|(_, event)| match event {
            Event::Msg(msg) => Some(msg.message_number),
            _ => None,
        });
        let ts = |event: &Event| event.position().expect("a durable event").2;
        let last_ts = log.last().map_or(0, |(_, event)| ts(event));
        assert!(ts(&event) >= last_ts, "time goes back");
        assert_eq!(seq, log.len() as u64 + 1, "a hole in s");
        assert_eq!(event.position().map(|(c, s, _)| (c, s)), Some((&conv, seq)));
        self.fold(&conv, &event);
        match &event {
            Event::Msg(msg) => {
                assert_eq!(msg.message_number, last.unwrap_or(0) + 1);
                self.cursors.insert((conv.clone(), msg.user.clone()), (seq, seq));
            }
            Event::Member(member) => {
                let key = (conv.clone(), member.member.clone());
                let initial = member.change == MembershipChange::Create;
                match member.role {
                    Some(role) if member.change == MembershipChange::Role => {
                        self.members.get_mut(&key).expect("a member").0 = role;
                    }
                    Some(role) => {
                        let before = self
                            .members
                            .insert(key.clone(), (role, if initial { 1 } else { seq }));
                        assert_eq!(before, None);
                        self.cursors.insert(key, (seq, seq));
                    }
                    None if member.change == MembershipChange::Unban => {
                        assert!(self.blocked_or_banned.remove(&key))
                    }
                    None => {
                        let was = self.members.remove(&key).is_some();
                        self.cursors.remove(&key);
                        self.own.remove(&key);
                        let banned =
                            member.change == MembershipChange::Ban && self.blocked_or_banned.insert(key);
                        assert!(was || banned);
                    }
                }
            }
            Event::Edit(_) | Event::Del(_) | Event::React(_) => {}
            Event::Meta(meta) => {
                if let Some(title) = &meta.title {
                    let title = (!title.is_empty()).then(|| title.clone());
                    self.titles.insert(conv.clone(), title);
                }
                if let Some(history) = meta.history {
                    self.open_history
                        .insert(conv.clone(), history == HistoryVisibility::All);
                }
            }
            other => panic!("{other:?} in a log"),
        }
        let log = self.logs.get_mut(&conv).expect("a log");
        log.push((tail.clone(), event));
    }

    /// Checks that retention leaves no row of a trimmed event, of whatever kind.
    fn check_trimmed(rows: &Map) {
        for (_, key) in rows.0.keys().filter(|(table, _)| *table == ChatTable::Message) {
            let kind = key.iter().position(|byte| *byte < 16).expect("a kind");
            // Counts of deleted messages are by ordinal.
            if key[kind] == 3 {
                continue;
            }
            let s = u64::from_be_bytes(key[kind + 1..kind + 9].try_into().unwrap());
            let row = rows.get(ChatTable::Conversation, &key[..kind]).unwrap();
            let conv = ConvRow::decode(&row.expect("a conversation")).unwrap();
            assert!(s >= conv.swept, "{key:?} is below {}", conv.swept);
        }
    }

    /// Compares what is shown with what was seen.
    fn check(&mut self, rows: &Map) {
        for (conv, log) in &self.logs {
            for user in USERS.map(u) {
                let key = (conv.clone(), user.clone());
                let Some((role, since)) = self.members.get(&key) else {
                    assert!(matches!(
                        query::open(rows, conv, &user, None),
                        Err(QueryError::NotMember)
                    ));
                    continue;
                };
                let all = self.open_history.get(conv).copied();
                let all = all.unwrap_or(conv.kind() == Some(ConversationKind::Channel));
                let (there, gone_mn) = self.floors.get(conv).copied().unwrap_or((1, 0));
                let floor = if all { 1 } else { *since };
                let floor = floor.max(there);
                let summary = query::summary(rows, conv, &user).unwrap();
                assert_eq!(summary.role, *role);
                assert_eq!(summary.title, self.titles.get(conv).cloned().flatten());
                let own = self.own.get(&key).copied().unwrap_or_default();
                assert_eq!((summary.muted, summary.pinned), own);
                let view = query::open(rows, conv, &user, None).unwrap();
                assert_eq!(
                    (view.title, view.floor, (view.muted, view.pinned)),
                    (summary.title.clone(), floor, own)
                );
                assert_eq!(view.last.seq, log.len() as u64);
                let message = log.iter().rposition(|(_, event)| matches!(event, Event::Msg(_)));
                let message = message.map_or(0, |at| at as u64 + 1);
                assert_eq!(summary.last.seq, message);
                let there = (message >= floor).then(|| log[message as usize - 1].0.clone());
                assert_eq!(summary.message.map(|message| message.tail), there);
                let (delivered, read_before) = self.cursors[&(conv.clone(), user.clone())];
                assert!(
                    summary.delivered >= delivered && summary.read >= read_before,
                    "a cursor went back"
                );
                assert!(summary.read <= summary.delivered && summary.delivered <= view.last.seq);
                self.cursors
                    .insert((conv.clone(), user.clone()), (summary.delivered, summary.read));
                let unread = log[summary.read as usize..]
                    .iter()
                    .filter_map(|(_, event)| match event {
                        Event::Msg(msg) if msg.message_number > gone_mn && !msg.deleted => Some(msg),
                        _ => None,
                    });
                let mentioned =
                    |msg: &&MessageEvent| self.messages[&(conv.clone(), msg.seq)].mentions.contains(&user);
                let mentions = unread.clone().filter(mentioned).count();
                assert_eq!(summary.unread as usize, unread.count());
                assert_eq!(summary.mentions as usize, mentions);
                let page = query::history(rows, conv, &user, HistoryRange::Newest, 10_000).unwrap();
                let tails: Vec<_> = log[floor as usize - 1..]
                    .iter()
                    .map(|event| visible(event, floor))
                    .collect();
                assert_eq!((page.events, page.more), (tails, false));
                let page = query::messages(rows, conv, &user, HistoryRange::Newest, 10_000).unwrap();
                let messages = self
                    .messages
                    .range((conv.clone(), floor)..=(conv.clone(), u64::MAX));
                let messages: Vec<_> = messages.map(|(_, message)| message.clone()).collect();
                assert_eq!(page.page(conv).unwrap().items, messages);
            }
            self.check_lists(rows, conv);
            let roles: Vec<_> = self
                .members
                .iter()
                .filter(|((c, _), _)| c == conv)
                .map(|(_, (role, _))| *role)
                .collect();
            assert!(
                conv.kind() == Some(ConversationKind::Direct)
                    || roles.is_empty()
                    || roles.contains(&Role::Owner),
                "nobody owns {conv}"
            );
        }
    }

    /// Compares the lists of members and of bans, in pages of two.
    fn check_lists(&self, rows: &Map, conv: &ConversationId) {
        let of = |(c, user): &(ConversationId, UserId)| (c == conv).then(|| user.clone());
        let mut members: Vec<_> = self.members.keys().filter_map(of).collect();
        members.sort();
        let Some(reader) = members.first().cloned() else {
            return;
        };
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = query::members(rows, conv, &reader, after.as_ref(), 2).unwrap();
            listed.extend(page.items.into_iter().map(|item| item.user));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, members);
        for user in &members {
            let (role, _) = self.members[&(conv.clone(), user.clone())];
            match query::bans(rows, conv, user, None, 9) {
                Ok(page) => {
                    assert!(role <= Role::Admin);
                    let listed: Vec<_> = page.items.into_iter().map(|item| item.user).collect();
                    assert_eq!(
                        listed,
                        self.blocked_or_banned.iter().filter_map(of).collect::<Vec<_>>()
                    );
                }
                Err(QueryError::Forbidden(_)) => {
                    assert!(role > Role::Admin || conv.kind() == Some(ConversationKind::Direct));
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Tells the users' shards what the outbox holds, shuffled and partly twice, and compares the index.
    fn check_index(&self, rows: &Map) {
        let mut pending = query::outbox(rows, None, usize::MAX).unwrap();
        pending.sort_by_key(|pending| xorshift(pending.id.index * 31 + u64::from(pending.id.n)));
        let mut users = TestShard::new();
        for pending in pending.iter().chain(pending.iter().step_by(2)) {
            users.apply(pending.command.clone());
        }
        for user in USERS.map(u) {
            let page = query::index(&users.rows, &user, None, usize::MAX).unwrap();
            let conversations: BTreeSet<_> = page.items.into_iter().map(|item| item.conv).collect();
            let seen = self
                .members
                .keys()
                .filter(|(_, member)| *member == user)
                .map(|(conv, _)| conv.clone());
            assert_eq!(conversations, seen.collect());
            let mut blocked = query::blocks(&users.rows, &user, None, usize::MAX).unwrap().items;
            // The list of an erased user is removed with the user, and told nothing before.
            let listed = |other: &UserId| {
                let conv = ConversationId::direct(&user, other);
                !self.erased.contains(&(conv, user.clone()))
            };
            blocked.retain(listed);
            let direct = |other: &UserId| (ConversationId::direct(&user, other), other.clone());
            let expected = USERS
                .map(u)
                .into_iter()
                .filter(|other| self.blocked_or_banned.contains(&direct(other)));
            let mut expected: Vec<_> = expected.filter(listed).collect();
            expected.sort();
            assert_eq!(blocked, expected);
        }
    }
}

/// What one is shown of an event who may see those from `floor` on.
fn visible((tail, event): &(Bytes, Event), floor: u64) -> Bytes {
    match event {
        Event::Edit(edit) if edit.target_seq < floor => {
            let mut left = edit.clone();
            (left.body, left.mentions, left.deleted) = (Body::new("{}").unwrap(), None, true);
            Event::Edit(left).tail().into()
        }
        _ => tail.clone(),
    }
}

fn xorshift(mut x: u64) -> u64 {
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_every_promise(batches in batches()) {
        let (mut shard, mut model) = (TestShard::new(), Model::default());
        let mut log = Vec::new();
        for (i, batch) in batches.iter().enumerate() {
            // The proposers' clocks disagree.
            shard.now_ms = 1_000_000 + xorshift(i as u64 + 1) % 5_000 + i as u64 * 100;
            let commands: Vec<_> = batch
                .iter()
                .map(|(user, which, cid, step)| {
                    let cid = match cid {
                        Some(cid) => ClientMessageId::parse(&format!("r{cid}")).unwrap(),
                        None => shard.cid(),
                    };
                    command(*user, *which, cid, step)
                })
                .collect();
            let outcomes = shard.batch(&commands);
            for (command, outcome) in commands.iter().zip(&outcomes) {
                model.see(command, outcome);
            }
            log.push((shard.now_ms, commands, outcomes));
            model.check(&shard.rows);
            Model::check_trimmed(&shard.rows);
        }
        model.check_index(&shard.rows);

        let mut replica = TestShard::new();
        for (now_ms, commands, outcomes) in log {
            replica.now_ms = now_ms;
            prop_assert_eq!(replica.batch(&commands), outcomes);
        }
        prop_assert_eq!(replica.rows, shard.rows);
    }

    #[test]
    fn no_bytes_make_the_machine_panic(batches in batches(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut shard = TestShard::new();
        for (user, which, _, step) in batches.into_iter().flatten() {
            let command: ShardCommand = command(user, which, shard.cid(), &step).into();
            let command = command.encode();
            let mut damaged = command.to_vec();
            let at = at.index(damaged.len());
            damaged[at] = with;
            shard.index += 1;
            // What the owner's check lets through, every replica can decode; anything else stops the replica.
            let readable = CommandHeader::check(&damaged).is_ok();
            prop_assert_eq!(ShardCommand::decode(&damaged).is_ok(), readable);
            let batch = [command, damaged.into()];
            let before = shard.rows.clone();
            let applied = super::apply_batch(&mut shard.rows, shard.index, super::LEVEL, shard.now_ms, &batch);
            let stopped = matches!(applied, Err(cluster::StateMachineError::Undecodable(_)));
            prop_assert_eq!(applied.is_ok(), readable, "{:?}", applied);
            prop_assert_eq!(stopped, !readable, "{:?}", applied);
            if stopped {
                // As the dropped transaction of a stopped replica.
                shard.rows = before;
            }
        }
    }
}
