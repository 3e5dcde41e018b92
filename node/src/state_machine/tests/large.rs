//! A conversation's size is no matter of its messages: what a command reads and writes is counted at the door to storage.

use std::cell::Cell;
use std::ops::Range;

use super::query;
use crate::state_machine::ChatTable;
use bytes::Bytes;
use protocol::{ClientMessageId, ConversationId, ErrorCode, Role};
use storage::{Error, ScanOrder};

use super::{Map, TestCommand, TestShard, done, text, u};
use crate::state_machine::apply::apply_batch;
use crate::state_machine::query::HistoryRange;
use crate::state_machine::row_store::{RowReader, RowWriter};
use crate::state_machine::{ConversationOp, ShardCommand, ShardOutcome};

const LARGE: usize = 100_000;
/// Commands in one batch.
const BATCH: usize = 1_000;

/// Rows that pass the door.
struct Counted {
    rows: Map,
    read: Cell<usize>,
    written: usize,
}

impl RowReader for Counted {
    fn get(&self, table: ChatTable, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.read.set(self.read.get() + 1);
        self.rows.get(table, key)
    }

    fn scan(
        &self,
        table: ChatTable,
        range: Range<&[u8]>,
        order: ScanOrder,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let found = self.rows.scan(table, range, order, limit)?;
        self.read.set(self.read.get() + 1 + found.len());
        Ok(found)
    }
}

impl RowWriter for Counted {
    fn put(&mut self, table: ChatTable, key: &[u8], value: &[u8]) {
        self.written += 1;
        self.rows.put(table, key, value);
    }

    fn delete(&mut self, table: ChatTable, key: &[u8]) {
        self.written += 1;
        self.rows.delete(table, key);
    }
}

/// A channel of that many members: an owner, an admin, a member, and readers who joined.
struct Channel {
    conv: ConversationId,
    counter: Counted,
    index: u64,
}

impl Channel {
    fn of(members: usize) -> Channel {
        let mut shard = TestShard::new();
        let conv = shard.group("ch_1", &["owner", "admin", "member"]);
        for (who, role) in [("admin", Role::Admin), ("member", Role::Member)] {
            shard.ok(
                "owner",
                &conv,
                ConversationOp::SetRole {
                    who: u(who),
                    role: Some(role),
                    data: None,
                },
            );
        }
        let joins: Vec<_> = (3..members)
            .map(|i| TestCommand {
                conv: conv.clone(),
                user: u(&format!("u{i:06}")),
                cid: ClientMessageId::parse("join").ok(),
                skip: 0,
                op: ConversationOp::Join,
            })
            .collect();
        for batch in joins.chunks(BATCH) {
            for outcome in shard.batch(batch) {
                done(outcome);
            }
        }
        let (index, rows) = (shard.index, shard.rows);
        let counter = Counted {
            rows,
            read: Cell::new(0),
            written: 0,
        };
        Channel { conv, counter, index }
    }

    /// Returns what a command does, and how many rows it reads and writes.
    fn run(&mut self, user: &str, op: ConversationOp) -> (ShardOutcome, usize, usize) {
        (self.counter.written, self.index) = (0, self.index + 1);
        self.counter.read.set(0);
        let command = TestCommand {
            conv: self.conv.clone(),
            user: u(user),
            cid: ClientMessageId::parse(&format!("c{}", self.index)).ok(),
            skip: 0,
            op,
        };
        let mut outcomes = apply_batch(
            &mut self.counter,
            self.index,
            super::LEVEL,
            2_000_000,
            &[ShardCommand::from(command).encode()],
        )
        .unwrap();
        (outcomes.remove(0), self.counter.read.get(), self.counter.written)
    }

    /// Returns what a question reads.
    fn ask<T>(
        &self,
        question: impl FnOnce(&Counted, &ConversationId) -> Result<T, query::QueryError>,
    ) -> (T, usize) {
        self.counter.read.set(0);
        let answer = question(&self.counter, &self.conv).unwrap();
        (answer, self.counter.read.get())
    }
}

#[test]
fn work_of_commands_and_queries_is_independent_of_members() {
    let (mut small, mut large) = (Channel::of(10), Channel::of(LARGE));
    let members = |channel: &Channel| query::last(&channel.counter, &channel.conv).unwrap().unwrap().1;
    assert_eq!((members(&small), members(&large)), (10, LARGE as u64));

    let mention = ConversationOp::Send {
        direct: None,
        body: "{}".into(),
        reply_to: None,
        mentions: vec![u("u000005"), u("member")],
    };
    let reader = "u000007";
    let first = large.counter.rows.get(ChatTable::Conversation, b"ch_1").unwrap();
    assert!(first.is_some());
    // A message of each is at a place of its own.
    let with_seq = |(outcome, read, written): (ShardOutcome, usize, usize)| (done(outcome).s, read, written);
    let (of_small, read, written) = with_seq(small.run("owner", text("x")));
    let of_large = with_seq(large.run("owner", text("x")));
    assert_eq!((of_large.1, of_large.2), (read, written), "a send");
    assert!(
        // One row more than later ones, because it is the first.
        read <= 4 && written <= 5,
        "a send reads {read} and writes {written} rows"
    );
    let of_large = of_large.0;
    let react = |of| ConversationOp::React {
        of,
        k: "+1".into(),
        on: true,
        who: None,
    };
    let edit = |of| ConversationOp::Edit {
        of,
        body: "{}".into(),
        mentions: None,
    };
    let steps: Vec<(&str, &str, ConversationOp, ConversationOp)> = vec![
        ("a mention", "admin", mention.clone(), mention),
        ("a reaction", reader, react(of_small), react(of_large)),
        ("an edit", "owner", edit(of_small), edit(of_large)),
        (
            "a cursor",
            reader,
            ConversationOp::Read { s: u64::MAX },
            ConversationOp::Read { s: u64::MAX },
        ),
        (
            "a deletion",
            "admin",
            ConversationOp::Delete { of: of_small },
            ConversationOp::Delete { of: of_large },
        ),
        ("a join", "late", ConversationOp::Join, ConversationOp::Join),
        (
            "a kick",
            "owner",
            ConversationOp::Kick { who: u("late") },
            ConversationOp::Kick { who: u("late") },
        ),
        (
            "a ban",
            "owner",
            ConversationOp::Ban { who: u("late") },
            ConversationOp::Ban { who: u("late") },
        ),
        ("a role", "owner", set_role(), set_role()),
        (
            "the last owner leaves",
            "owner",
            ConversationOp::Leave,
            ConversationOp::Leave,
        ),
    ];
    for (what, who, in_small, in_large) in steps {
        let (outcome, read, written) = small.run(who, in_small);
        done(outcome);
        let (outcome, large_read, large_written) = large.run(who, in_large);
        done(outcome);
        assert_eq!((large_read, large_written), (read, written), "{what}");
    }

    let questions = |channel: &Channel| {
        let user = u(reader);
        let (view, open) = channel.ask(|rows, conv| query::open(rows, conv, &user, None));
        let (_, line) = channel.ask(|rows, conv| query::summary(rows, conv, &user));
        let (page, members) = channel.ask(|rows, conv| query::members(rows, conv, &user, None, 3));
        assert_eq!((page.items.len(), view.members), (3, members_of(channel)));
        // The one page of the log that both have.
        let (_, history) =
            channel.ask(|rows, conv| query::history(rows, conv, &user, HistoryRange::Newest, 5));
        (open, line, members, history)
    };
    assert_eq!(questions(&large), questions(&small));
}

fn members_of(channel: &Channel) -> u64 {
    query::last(&channel.counter, &channel.conv).unwrap().unwrap().1
}

fn set_role() -> ConversationOp {
    let (who, role) = (u("u000004"), Role::Member);
    ConversationOp::SetRole {
        who,
        role: Some(role),
        data: None,
    }
}

#[test]
fn hundred_thousand_members_are_listed_once_each_in_pages() {
    let channel = Channel::of(LARGE);
    let (mut seen, mut after, mut pages) = (0, None, 0);
    let mut last = String::new();
    loop {
        let (page, read) =
            channel.ask(|rows, conv| query::members(rows, conv, &u("owner"), after.as_ref(), 100));
        assert!(read <= 110, "a page reads {read} rows");
        for member in &page.items {
            assert!(member.user.as_str() > last.as_str() && member.cursors.is_none());
            last = member.user.to_string();
        }
        (seen, pages) = (seen + page.items.len(), pages + 1);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (LARGE, LARGE / 100));
}

#[test]
fn the_last_owner_cannot_vanish_by_mistake() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["owner", "other"]);
    let role = |who: &str, role| ConversationOp::SetRole {
        who: u(who),
        role: Some(role),
        data: None,
    };
    // Not by a change of the own role, and nobody else may act on an owner.
    assert_eq!(
        shard.no("owner", &conv, role("owner", Role::Member)),
        ErrorCode::Conflict
    );
    assert_eq!(
        shard.no("owner", &conv, ConversationOp::Kick { who: u("owner") }),
        ErrorCode::BadRequest
    );
    assert_eq!(
        shard.no("owner", &conv, ConversationOp::Ban { who: u("owner") }),
        ErrorCode::BadRequest
    );
    shard.ok("owner", &conv, role("other", Role::Admin));
    for op in [
        ConversationOp::Kick { who: u("owner") },
        ConversationOp::Ban { who: u("owner") },
        role("owner", Role::Member),
    ] {
        assert_eq!(
            shard.no("other", &conv, op.clone()),
            ErrorCode::Forbidden,
            "{op:?}"
        );
    }
    // Of two owners one may put the other out, and is then the last.
    shard.ok("owner", &conv, role("other", Role::Owner));
    shard.ok("other", &conv, ConversationOp::Kick { who: u("owner") });
    assert_eq!(
        shard.no("other", &conv, role("other", Role::Admin)),
        ErrorCode::Conflict
    );
    shard.ok("other", &conv, ConversationOp::Invite { who: u("heir") });
    shard.ok("other", &conv, ConversationOp::Leave);
    let next_owner = query::role(&shard.rows, &conv, &u("heir")).unwrap();
    assert_eq!(next_owner, Some(Role::Owner));
}

#[test]
fn a_channel_that_everybody_has_left_is_over() {
    let mut shard = TestShard::new();
    let conv = shard.group("ch_1", &["owner"]);
    shard.ok("owner", &conv, ConversationOp::Leave);
    for who in ["owner", "stranger"] {
        assert_eq!(
            shard.no(who, &conv, ConversationOp::Join),
            ErrorCode::NotMember,
            "nobody would own it"
        );
    }
}
