//! Who may make a user a member, as the user's shard decides it.

use proptest::prelude::*;
use protocol::{Cid, ConvId, ErrorCode, GroupInvite, Kind};
use storage::{Order, Table};

use super::super::consent::{Bounds, verdict};
use super::super::door::Rows;
use super::super::{Command, Op, OutboxId, Outcome, keys};
use super::{World, create, done, text, u};

const DAY_MS: u64 = 24 * 3600 * 1000;
const BOUNDS: Bounds = Bounds { by_one: 3, by_all: 5 };

/// Asks bob's shard.
fn ask(world: &mut World, by: &str, conv: &str, cid: &str, shared: Option<&str>, bounds: Bounds) -> u64 {
    let op = Op::MayAdd {
        by: u(by),
        cid: Cid::parse(cid).unwrap(),
        shared: shared.map(|conv| ConvId::parse(conv).unwrap()),
        bounds,
    };
    let (conv, cid) = (ConvId::parse(conv).unwrap(), None);
    done(world.apply(Command {
        conv,
        user: u("bob"),
        cid,
        skip: 0,
        op,
    }))
    .s
}

fn tell(world: &mut World, op: Op, conv: &str) {
    let (conv, cid) = (ConvId::parse(conv).unwrap(), None);
    done(world.apply(Command {
        conv,
        user: u("bob"),
        cid,
        skip: 0,
        op,
    }));
}

fn rows(world: &World) -> usize {
    let (start, end) = keys::added_by_anybody(&u("bob"));
    let rows = world
        .rows
        .scan(Table::UserIndex, &start..&end, Order::Ascending, usize::MAX);
    rows.unwrap().len()
}

#[test]
fn within_a_day_one_adds_so_often_and_all_together_so_often() {
    let mut world = World::new();
    let add = |world: &mut World, by, cid: &str| ask(world, by, "g_1", cid, None, BOUNDS) == verdict::YES;
    for cid in ["1", "2", "3"] {
        assert!(add(&mut world, "ann", cid));
    }
    assert!(!add(&mut world, "ann", "4"));
    assert!(add(&mut world, "ann", "2"), "the same again is the same");
    // One whose name begins alike is another.
    assert!(add(&mut world, "an", "1") && add(&mut world, "ann2", "1"));
    assert!(!add(&mut world, "cat", "1"), "all together");
    world.now_ms += DAY_MS - 1;
    assert!(!add(&mut world, "cat", "1"));
    world.now_ms += 1;
    assert!(add(&mut world, "cat", "1") && add(&mut world, "ann", "4"));
    assert_eq!(rows(&world), 2, "what no longer counts is forgotten");
    let none = Bounds { by_one: 0, by_all: 0 };
    for i in 0..20 {
        assert_eq!(
            ask(&mut world, "ann", "g_2", &i.to_string(), None, none),
            verdict::YES
        );
    }
    assert_eq!(rows(&world), 2);
}

#[test]
fn whom_the_user_blocks_may_not_and_others_may() {
    let mut world = World::new();
    let block = |on, index| Op::BlockPut {
        who: u("ann"),
        on,
        version: OutboxId { index, n: 0 },
        at_ms: 1,
    };
    tell(&mut world, block(true, 1), "d_1");
    assert_eq!(ask(&mut world, "ann", "g_1", "1", None, BOUNDS), verdict::NO);
    assert_eq!(ask(&mut world, "cat", "g_1", "1", None, BOUNDS), verdict::YES);
    tell(&mut world, block(false, 2), "d_1");
    assert_eq!(ask(&mut world, "ann", "g_1", "1", None, BOUNDS), verdict::YES);
}

#[test]
fn the_user_says_who_may() {
    let mut world = World::new();
    let wish = |group_invite| Op::Wish { group_invite };
    tell(&mut world, wish(GroupInvite::Nobody), "-");
    assert_eq!(ask(&mut world, "ann", "g_1", "1", None, BOUNDS), verdict::NO);
    tell(&mut world, wish(GroupInvite::SharesConversation), "-");
    assert_eq!(ask(&mut world, "ann", "g_1", "1", None, BOUNDS), verdict::SHARED);
    for (index, conv) in [(1, "g_2"), (2, "ch_2"), (3, "d_2")] {
        let version = OutboxId { index, n: 0 };
        let member = true;
        tell(
            &mut world,
            Op::IndexPut {
                member,
                version,
                at_ms: 1,
            },
            conv,
        );
    }
    // Anybody begins a direct conversation, and joins a channel, without asking.
    for shared in ["g_3", "ch_2", "d_2"] {
        assert_eq!(
            ask(&mut world, "ann", "g_1", "1", Some(shared), BOUNDS),
            verdict::NO,
            "{shared}"
        );
    }
    assert_eq!(rows(&world), 0, "what is refused is not counted");
    assert_eq!(
        ask(&mut world, "ann", "g_1", "1", Some("g_2"), BOUNDS),
        verdict::YES
    );
    let left = Op::IndexPut {
        member: false,
        version: OutboxId { index: 9, n: 0 },
        at_ms: 2,
    };
    tell(&mut world, left, "g_2");
    assert_eq!(
        ask(&mut world, "ann", "g_1", "2", Some("g_2"), BOUNDS),
        verdict::NO
    );
    tell(&mut world, wish(GroupInvite::Anyone), "-");
    assert_eq!(ask(&mut world, "ann", "g_1", "2", None, BOUNDS), verdict::YES);
}

#[test]
fn what_was_not_consented_to_is_refused_in_its_place_and_what_was_done_before_stays_done() {
    let mut world = World::new();
    let conv = world.group("g_1", &["own", "mem"]);
    let not_added = |who: Option<&str>| Op::NotAdded {
        who: who.map(u),
        why: "can't be added by you: bob".into(),
    };
    let command = |user: &str, cid: &str, op| Command {
        conv: ConvId::parse("g_1").unwrap(),
        user: u(user),
        cid: Cid::parse(cid).ok(),
        skip: 0,
        op,
    };
    let invite = command("own", "i", Op::Invite { who: u("bob") });
    let first = done(world.apply(invite));
    let again = done(world.apply(command("own", "i", not_added(Some("bob")))));
    assert_eq!((again.s, again.dup), (first.s, true));
    let refused = |outcome| match outcome {
        Outcome::Refused(code, msg) => (code, msg),
        other => panic!("{other:?}"),
    };
    let (code, msg) = refused(world.apply(command("own", "j", not_added(Some("cat")))));
    assert_eq!(
        (code, msg.as_str()),
        (ErrorCode::Forbidden, "can't be added by you: bob")
    );
    // Who may not invite hears that, and a stranger that it is one.
    for (user, who, code) in [
        ("mem", "cat", ErrorCode::Forbidden),
        ("out", "cat", ErrorCode::NotMember),
        ("own", "mem", ErrorCode::Conflict),
    ] {
        let (found, msg) = refused(world.apply(command(user, "k", not_added(Some(who)))));
        assert_eq!(found, code);
        assert!(!msg.contains("bob"), "{msg}");
    }
    // A conversation that was made is made.
    assert!(done(world.apply(command("own", "made", not_added(None)))).dup);
    assert_eq!(world.no("mem", &conv, not_added(None)), ErrorCode::Forbidden);
    let new = ConvId::parse("g_2").unwrap();
    assert_eq!(world.no("own", &new, not_added(None)), ErrorCode::Forbidden);
    assert_eq!(world.no("own", &new, text("x")), ErrorCode::NotMember);
    world.ok("own", &new, create(Kind::Group, &[]));
}

proptest! {
    /// However it is asked, no window of a day has more memberships than the bounds, and nothing is refused that is within.
    #[test]
    fn no_day_has_more_than_the_bounds(asked in prop::collection::vec((0..4usize, 0..6u8, 0..DAY_MS / 3), 1..60)) {
        let mut world = World::new();
        let mut granted: Vec<(u64, usize, String)> = Vec::new();
        for (by, cid, later) in asked {
            world.now_ms += later;
            let (by_name, cid) = (["ann", "an", "cat", "dan"][by], cid.to_string());
            let recent: Vec<_> = granted.iter().filter(|(at, ..)| at + DAY_MS > world.now_ms).cloned().collect();
            let known = recent.iter().any(|(_, known, key)| (*known, key) == (by, &cid));
            let one = recent.iter().filter(|(_, known, _)| *known == by).count();
            let fits = one < 3 && recent.len() < 5;
            let yes = ask(&mut world, by_name, "g_1", &cid, None, BOUNDS) == verdict::YES;
            prop_assert_eq!(yes, known || fits);
            if yes && !known {
                granted.push((world.now_ms, by, cid));
            }
            prop_assert!(rows(&world) <= 6);
        }
    }
}
