//! A conversation's size is no matter of its messages: what a command reads and writes is counted at the door to storage.

use std::cell::Cell;
use std::ops::Range;

use bytes::Bytes;
use protocol::{Cid, ConvId, ErrorCode, Role};
use storage::{Error, Order, Table};

use super::super::door::{Rows, RowsMut};
use super::super::machine::apply_batch;
use super::super::read::{self, Page};
use super::super::{Command, Op, Outcome};
use super::{Map, World, done, text, u};

const LARGE: usize = 100_000;
/// Commands in one batch.
const BATCH: usize = 1_000;

/// Rows that pass the door.
struct Counted {
    rows: Map,
    read: Cell<usize>,
    written: usize,
}

impl Rows for Counted {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.read.set(self.read.get() + 1);
        self.rows.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let found = self.rows.scan(table, range, order, limit)?;
        self.read.set(self.read.get() + 1 + found.len());
        Ok(found)
    }
}

impl RowsMut for Counted {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.written += 1;
        self.rows.put(table, key, value);
    }

    fn delete(&mut self, table: Table, key: &[u8]) {
        self.written += 1;
        self.rows.delete(table, key);
    }
}

/// A channel of that many members: an owner, an admin, a member, and readers who joined.
struct Channel {
    conv: ConvId,
    door: Counted,
    index: u64,
}

impl Channel {
    fn of(members: usize) -> Channel {
        let mut world = World::new();
        let conv = world.group("ch_1", &["owner", "admin", "member"]);
        for (who, role) in [("admin", Role::Admin), ("member", Role::Member)] {
            world.ok("owner", &conv, Op::SetRole { who: u(who), role });
        }
        let joins: Vec<_> = (3..members)
            .map(|i| Command {
                conv: conv.clone(),
                user: u(&format!("u{i:06}")),
                cid: Cid::parse("join").ok(),
                skip: 0,
                op: Op::Join,
            })
            .collect();
        for batch in joins.chunks(BATCH) {
            for outcome in world.batch(batch) {
                done(outcome);
            }
        }
        let (index, rows) = (world.index, world.rows);
        let door = Counted {
            rows,
            read: Cell::new(0),
            written: 0,
        };
        Channel { conv, door, index }
    }

    /// Returns what a command does, and how many rows it reads and writes.
    fn run(&mut self, user: &str, op: Op) -> (Outcome, usize, usize) {
        (self.door.written, self.index) = (0, self.index + 1);
        self.door.read.set(0);
        let command = Command {
            conv: self.conv.clone(),
            user: u(user),
            cid: Cid::parse(&format!("c{}", self.index)).ok(),
            skip: 0,
            op,
        };
        let mut outcomes = apply_batch(&mut self.door, self.index, 2_000_000, &[command.encode()]).unwrap();
        (outcomes.remove(0), self.door.read.get(), self.door.written)
    }

    /// Returns what a question reads.
    fn ask<T>(&self, question: impl FnOnce(&Counted, &ConvId) -> Result<T, read::Denied>) -> (T, usize) {
        self.door.read.set(0);
        let answer = question(&self.door, &self.conv).unwrap();
        (answer, self.door.read.get())
    }
}

#[test]
fn the_work_of_a_command_and_of_a_question_does_not_grow_with_the_members() {
    let (mut small, mut large) = (Channel::of(10), Channel::of(LARGE));
    let members = |channel: &Channel| read::last(&channel.door, &channel.conv).unwrap().unwrap().1;
    assert_eq!((members(&small), members(&large)), (10, LARGE as u64));

    let mention = Op::Send {
        direct: None,
        body: "{}".into(),
        reply_to: None,
        mentions: vec![u("u000005"), u("member")],
    };
    let reader = "u000007";
    let first = large.door.rows.get(Table::Conversation, b"ch_1").unwrap();
    assert!(first.is_some());
    // A message of each is at a place of its own.
    let place = |(outcome, read, written): (Outcome, usize, usize)| (done(outcome).s, read, written);
    let (of_small, read, written) = place(small.run("owner", text("x")));
    let of_large = place(large.run("owner", text("x")));
    assert_eq!((of_large.1, of_large.2), (read, written), "a send");
    assert!(
        // One row more than later ones, because it is the first.
        read <= 4 && written <= 5,
        "a send reads {read} and writes {written} rows"
    );
    let of_large = of_large.0;
    let react = |of| Op::React {
        of,
        k: "+1".into(),
        on: true,
        who: None,
    };
    let edit = |of| Op::Edit {
        of,
        body: "{}".into(),
        mentions: None,
    };
    let steps: Vec<(&str, &str, Op, Op)> = vec![
        ("a mention", "admin", mention.clone(), mention),
        ("a reaction", reader, react(of_small), react(of_large)),
        ("an edit", "owner", edit(of_small), edit(of_large)),
        (
            "a cursor",
            reader,
            Op::Read { s: u64::MAX },
            Op::Read { s: u64::MAX },
        ),
        (
            "a deletion",
            "admin",
            Op::Delete { of: of_small },
            Op::Delete { of: of_large },
        ),
        ("a join", "late", Op::Join, Op::Join),
        (
            "a kick",
            "owner",
            Op::Kick { who: u("late") },
            Op::Kick { who: u("late") },
        ),
        (
            "a ban",
            "owner",
            Op::Ban { who: u("late") },
            Op::Ban { who: u("late") },
        ),
        ("a role", "owner", set_role(), set_role()),
        ("the last owner leaves", "owner", Op::Leave, Op::Leave),
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
        let (view, open) = channel.ask(|rows, conv| read::open(rows, conv, &user, None, 50));
        let (_, line) = channel.ask(|rows, conv| read::summary(rows, conv, &user));
        let (page, members) = channel.ask(|rows, conv| read::members(rows, conv, &user, None, 3));
        assert_eq!((page.items.len(), view.members), (3, members_of(channel)));
        // The one page of the log that both have.
        let (_, history) = channel.ask(|rows, conv| read::history(rows, conv, &user, Page::Newest, 5));
        (open, line, members, history)
    };
    assert_eq!(questions(&large), questions(&small));
}

fn members_of(channel: &Channel) -> u64 {
    read::last(&channel.door, &channel.conv).unwrap().unwrap().1
}

fn set_role() -> Op {
    let (who, role) = (u("u000004"), Role::Member);
    Op::SetRole { who, role }
}

#[test]
fn a_hundred_thousand_members_are_listed_in_pages_each_of_them_once() {
    let channel = Channel::of(LARGE);
    let (mut seen, mut after, mut pages) = (0, None, 0);
    let mut last = String::new();
    loop {
        let (page, read) =
            channel.ask(|rows, conv| read::members(rows, conv, &u("owner"), after.as_ref(), 100));
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
    let mut world = World::new();
    let conv = world.group("g_1", &["owner", "other"]);
    let role = |who: &str, role| Op::SetRole { who: u(who), role };
    // Not by a change of the own role, and nobody else may act on an owner.
    assert_eq!(
        world.no("owner", &conv, role("owner", Role::Member)),
        ErrorCode::Conflict
    );
    assert_eq!(
        world.no("owner", &conv, Op::Kick { who: u("owner") }),
        ErrorCode::BadRequest
    );
    assert_eq!(
        world.no("owner", &conv, Op::Ban { who: u("owner") }),
        ErrorCode::BadRequest
    );
    world.ok("owner", &conv, role("other", Role::Admin));
    for op in [
        Op::Kick { who: u("owner") },
        Op::Ban { who: u("owner") },
        role("owner", Role::Member),
    ] {
        assert_eq!(
            world.no("other", &conv, op.clone()),
            ErrorCode::Forbidden,
            "{op:?}"
        );
    }
    // Of two owners one may put the other out, and is then the last.
    world.ok("owner", &conv, role("other", Role::Owner));
    world.ok("other", &conv, Op::Kick { who: u("owner") });
    assert_eq!(
        world.no("other", &conv, role("other", Role::Admin)),
        ErrorCode::Conflict
    );
    world.ok("other", &conv, Op::Invite { who: u("heir") });
    world.ok("other", &conv, Op::Leave);
    let heir = read::role(&world.rows, &conv, &u("heir")).unwrap();
    assert_eq!(heir, Some(Role::Owner));
}

#[test]
fn a_channel_that_everybody_has_left_is_over() {
    let mut world = World::new();
    let conv = world.group("ch_1", &["owner"]);
    world.ok("owner", &conv, Op::Leave);
    for who in ["owner", "stranger"] {
        assert_eq!(
            world.no(who, &conv, Op::Join),
            ErrorCode::NotMember,
            "nobody would own it"
        );
    }
}
