//! Two times come with a batch: what happens is stamped with one, what ends by time ends by the other.

use protocol::{Cid, ConvId};

use super::super::login::{Hidden, Keyring, Limit, Login, Pace, verdict};
use super::super::machine::apply_batch;
use super::super::work::Time;
use super::super::{Applied, Command, read};
use super::{World, done, text, u};

const TEN_DAYS: u64 = 10 * 24 * 3600 * 1000;
const MINUTE: u64 = 60_000;

/// Applies a command of a proposer whose time is far ahead of what a majority's clocks have reached.
fn ahead(world: &mut World, command: &Command) -> Applied {
    world.index += 1;
    let time = Time {
        now_ms: world.now_ms + TEN_DAYS,
        reached_ms: world.now_ms,
    };
    let mut outcomes = apply_batch(&mut world.rows, world.index, time, &[command.encode()]).unwrap();
    done(outcomes.remove(0))
}

fn login(name: &str, id: &str, login: Login) -> Command {
    Command::login(ConvId::parse(name).unwrap(), Cid::parse(id).ok(), login)
}

#[test]
fn codes_and_lines_and_keys_end_by_what_a_majority_has_reached_and_not_by_the_proposers_time() {
    let mut world = World::new();
    let hash = |n: u8| Hidden([n; 32]);
    let limit = Limit {
        most: 3,
        window_ms: MINUTE,
    };
    let put = Login::PutCode {
        code: hash(1),
        valid_ms: MINUTE,
        limit,
    };
    done(world.apply(login("to_a", "c", put)));
    let open = Login::OpenLine {
        token: hash(2),
        valid_ms: MINUTE,
    };
    done(world.apply(login("u_a", "l", open)));
    let pace = Pace {
        period_ms: MINUTE,
        overlap_ms: 100,
        keep_ms: 100,
    };
    let turn = |seed| Login::TurnKeys {
        seed: hash(seed),
        pepper: hash(9),
        pace,
    };
    done(world.apply(login("keys", "", turn(3))));
    let keys = |world: &World| -> Keyring { read::keyring(&world.rows).unwrap().unwrap() };
    let before = keys(&world);

    assert_eq!(
        ahead(&mut world, &login("x", "", Login::Sweep)).s,
        0,
        "nothing is over"
    );
    assert_eq!(ahead(&mut world, &login("keys", "", turn(4))).s, verdict::NO);
    assert_eq!(keys(&world), before);
    let attempt = Login::TryCode {
        code: hash(1),
        attempt: 1,
        tries: 3,
    };
    assert_eq!(ahead(&mut world, &login("to_a", "c", attempt)).s, verdict::YES);
    let next = Login::TurnLine {
        token: hash(2),
        next: hash(5),
        valid_ms: MINUTE,
        grace_ms: MINUTE,
    };
    assert_eq!(ahead(&mut world, &login("u_a", "l", next)).s, verdict::YES);

    // Once a majority is there, all of it is over.
    world.now_ms += TEN_DAYS + 2 * MINUTE;
    assert_eq!(done(world.apply(login("keys", "", turn(4)))).s, verdict::YES);
    assert_ne!(done(world.apply(login("x", "", Login::Sweep))).s, 0);
}

#[test]
fn keys_of_commands_last_three_days_that_a_majority_has_seen() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    let command = Command {
        conv: conv.clone(),
        user: u("alice"),
        cid: Cid::parse("first").ok(),
        skip: 0,
        op: text("x"),
    };
    let first = done(world.apply(command.clone()));
    for n in 0..3_000 {
        let next = Command {
            cid: Cid::parse(&format!("n{n}")).ok(),
            ..command.clone()
        };
        ahead(&mut world, &next);
    }
    let again = done(world.apply(command));
    assert_eq!((again.s, again.dup), (first.s, true));
}

#[test]
fn no_user_was_seen_at_a_time_that_is_to_come() {
    let mut world = World::new();
    let now = world.now_ms;
    done(world.apply(Command::seen(u("bob"), now + TEN_DAYS)));
    let seen = |world: &World| read::standing(&world.rows, &u("bob"), &u("alice")).unwrap().seen;
    assert_eq!(seen(&world), Some(now));
    world.now_ms += MINUTE;
    done(world.apply(Command::seen(u("bob"), now + 1_000)));
    assert_eq!(seen(&world), Some(now + 1_000));
}
