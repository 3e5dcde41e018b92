//! Limits, codes, lines of refresh tokens and signing keys, with the time passed in.

use protocol::{Cid, ConvId};
use storage::{Order, Table};

use super::super::door::Rows;
use super::super::login::{Hidden, Keyring, Limit, Login, Pace, SigningKey, verdict};
use super::super::{Applied, Command, read};
use super::{World, done};

const MINUTE: u64 = 60_000;
const LIMIT: Limit = Limit {
    most: 3,
    window_ms: 60 * MINUTE,
};
const PACE: Pace = Pace {
    period_ms: 1_000,
    overlap_ms: 100,
    keep_ms: 300,
};

fn step(world: &mut World, name: &str, id: &str, login: Login) -> Applied {
    let name = ConvId::parse(name).unwrap();
    done(world.apply(Command::login(name, Cid::parse(id).ok(), login)))
}

fn hash(n: u8) -> Hidden {
    Hidden([n; 32])
}

fn put(world: &mut World, id: &str, code: u8) -> Applied {
    let code = hash(code);
    let put = Login::PutCode {
        code,
        valid_ms: 5 * MINUTE,
        limit: LIMIT,
    };
    step(world, "to_a", id, put)
}

fn attempt(world: &mut World, id: &str, code: u8, attempt: u64) -> u64 {
    let (code, tries) = (hash(code), 5);
    let attempt = Login::TryCode { code, attempt, tries };
    step(world, "to_a", id, attempt).s
}

fn open(world: &mut World, id: &str, token: u8) -> u64 {
    let token = hash(token);
    let valid_ms = 60 * MINUTE;
    step(world, "u_a", id, Login::OpenLine { token, valid_ms }).s
}

fn turn(world: &mut World, token: u8, next: u8) -> u64 {
    let turn = Login::TurnLine {
        token: hash(token),
        next: hash(next),
        valid_ms: 60 * MINUTE,
        grace_ms: MINUTE,
    };
    step(world, "u_a", "l", turn).s
}

fn rows(world: &World) -> usize {
    let all = world.rows.scan(
        Table::UserIndex,
        &b""[..]..&[0xff; 80][..],
        Order::Ascending,
        10_000,
    );
    all.unwrap().len()
}

#[test]
fn so_many_are_counted_within_any_window_and_the_rest_are_told_how_long_to_wait() {
    let mut world = World::new();
    let start = world.now_ms;
    let count = |world: &mut World, nonce| {
        let done = step(world, "ip_a", "", Login::Count { nonce, limit: LIMIT });
        (done.s, done.mn)
    };
    for i in 0..3 {
        world.now_ms = start + i * MINUTE;
        assert_eq!(count(&mut world, i), (verdict::YES, 0));
    }
    assert_eq!(count(&mut world, 9), (verdict::NO, 58 * MINUTE));
    assert_eq!(
        count(&mut world, 1),
        (verdict::YES, 0),
        "a repeat is the same one"
    );
    world.now_ms = start + 60 * MINUTE;
    assert_eq!(count(&mut world, 9), (verdict::YES, 0));
    assert_eq!(count(&mut world, 10), (verdict::NO, MINUTE));
    let other = Login::Count {
        nonce: 1,
        limit: LIMIT,
    };
    assert_eq!(step(&mut world, "ip_b", "", other).s, verdict::YES);
}

#[test]
fn a_code_is_right_once_and_until_its_end() {
    let mut world = World::new();
    assert_eq!(put(&mut world, "c", 1).s, verdict::YES);
    assert_eq!(
        attempt(&mut world, "other", 1, 1),
        verdict::NO,
        "another challenge"
    );
    assert_eq!(attempt(&mut world, "c", 1, 2), verdict::YES);
    assert_eq!(
        attempt(&mut world, "c", 1, 2),
        verdict::YES,
        "the lane sent it again"
    );
    assert_eq!(attempt(&mut world, "c", 1, 3), verdict::NO, "it was used");
    put(&mut world, "d", 2);
    world.now_ms += 5 * MINUTE - 1;
    assert_eq!(attempt(&mut world, "d", 9, 4), verdict::NO);
    assert_eq!(attempt(&mut world, "d", 2, 5), verdict::YES, "at the last moment");
    put(&mut world, "e", 3);
    world.now_ms += 5 * MINUTE;
    assert_eq!(attempt(&mut world, "e", 3, 6), verdict::NO, "too late");
}

#[test]
fn a_code_is_void_after_five_wrong_tries_and_a_repeat_is_no_further_try() {
    let mut world = World::new();
    put(&mut world, "c", 1);
    for i in 1..=4 {
        assert_eq!(attempt(&mut world, "c", 9, i), verdict::NO);
        assert_eq!(attempt(&mut world, "c", 9, i), verdict::NO);
    }
    let mut fifth = World {
        rows: world.rows.clone(),
        ..World::new()
    };
    assert_eq!(attempt(&mut fifth, "c", 1, 5), verdict::YES, "four were wrong");
    assert_eq!(attempt(&mut world, "c", 9, 5), verdict::NO);
    assert_eq!(attempt(&mut world, "c", 1, 6), verdict::NO, "five were wrong");
}

#[test]
fn codes_of_one_address_are_limited_and_live_side_by_side() {
    let mut world = World::new();
    let start = world.now_ms;
    for (id, code) in [("c", 1), ("d", 2), ("e", 3)] {
        assert_eq!(put(&mut world, id, code).s, verdict::YES);
        assert_eq!(
            put(&mut world, id, code).s,
            verdict::YES,
            "the lane sent it again"
        );
        world.now_ms += MINUTE;
    }
    let refused = put(&mut world, "f", 4);
    assert_eq!((refused.s, refused.mn), (verdict::NO, 57 * MINUTE));
    assert_eq!(attempt(&mut world, "f", 4, 1), verdict::NO, "it was not kept");
    assert_eq!(attempt(&mut world, "d", 2, 2), verdict::YES);
    assert_eq!(
        attempt(&mut world, "c", 1, 3),
        verdict::YES,
        "a newer one takes nothing away"
    );
    world.now_ms = start + LIMIT.window_ms;
    assert_eq!(put(&mut world, "g", 5).s, verdict::YES);
}

#[test]
fn a_refresh_token_is_replaced_at_each_use_and_its_reuse_ends_the_line() {
    let mut world = World::new();
    assert_eq!(open(&mut world, "l", 1), verdict::YES);
    assert_eq!(open(&mut world, "l", 1), verdict::YES, "the lane sent it again");
    assert_eq!(turn(&mut world, 1, 2), verdict::YES);
    assert_eq!(turn(&mut world, 1, 2), verdict::YES, "the lane sent it again");
    assert_eq!(turn(&mut world, 2, 3), verdict::YES);
    world.now_ms += MINUTE;
    assert_eq!(turn(&mut world, 1, 9), verdict::REUSED, "two tokens ago");
    assert_eq!(
        turn(&mut world, 3, 4),
        verdict::NO,
        "the present one has gone with it"
    );
    assert_eq!(rows(&world), 0);
}

#[test]
fn a_client_that_lost_the_answer_asks_again_for_a_short_time() {
    let mut world = World::new();
    open(&mut world, "l", 1);
    assert_eq!(turn(&mut world, 1, 2), verdict::YES);
    world.now_ms += MINUTE - 1;
    assert_eq!(turn(&mut world, 1, 3), verdict::YES, "2 was lost");
    assert_eq!(turn(&mut world, 1, 3), verdict::YES, "the lane sent it again");
    assert_eq!(turn(&mut world, 3, 4), verdict::YES);
    world.now_ms += 1;
    assert_eq!(
        turn(&mut world, 1, 5),
        verdict::REUSED,
        "a minute after 1 was used"
    );
    assert_eq!(
        turn(&mut world, 4, 6),
        verdict::NO,
        "all of them have gone with it"
    );
    assert_eq!(turn(&mut world, 2, 6), verdict::NO);
    assert_eq!(rows(&world), 0);
}

#[test]
fn two_tabs_that_use_one_token_at_once_both_stay_logged_in() {
    let mut world = World::new();
    open(&mut world, "l", 1);
    assert_eq!(turn(&mut world, 1, 2), verdict::YES, "one tab");
    assert_eq!(turn(&mut world, 2, 3), verdict::YES, "which goes on at once");
    world.now_ms += MINUTE - 1;
    assert_eq!(turn(&mut world, 1, 11), verdict::YES, "the other tab");
    for i in 3..9 {
        world.now_ms += 30 * MINUTE;
        assert_eq!(turn(&mut world, i, i + 1), verdict::YES);
        assert_eq!(turn(&mut world, 8 + i, 9 + i), verdict::YES);
    }
    // Each of them is guarded by itself, and theft of one ends both.
    assert_eq!(turn(&mut world, 13, 99), verdict::REUSED, "long ago");
    assert_eq!(turn(&mut world, 9, 10), verdict::NO);
    assert_eq!(turn(&mut world, 17, 18), verdict::NO);
    assert_eq!(rows(&world), 0);
}

#[test]
fn a_tab_that_was_closed_leaves_no_token_behind_for_ever() {
    let mut world = World::new();
    open(&mut world, "l", 1);
    turn(&mut world, 1, 2);
    assert_eq!(turn(&mut world, 1, 3), verdict::YES);
    world.now_ms += 40 * MINUTE;
    assert_eq!(turn(&mut world, 3, 4), verdict::YES);
    world.now_ms += 40 * MINUTE;
    let mut thief = World {
        rows: world.rows.clone(),
        now_ms: world.now_ms,
        ..World::new()
    };
    assert_eq!(turn(&mut thief, 2, 9), verdict::NO, "it has expired");
    assert_eq!(turn(&mut thief, 4, 5), verdict::YES, "and ends nothing");
    assert_eq!(turn(&mut world, 4, 5), verdict::YES);
}

#[test]
fn a_line_has_a_bounded_number_of_tokens_and_the_oldest_makes_room() {
    let mut world = World::new();
    open(&mut world, "l", 1);
    for next in 2..40 {
        assert_eq!(turn(&mut world, 1, next), verdict::YES);
    }
    assert_eq!(turn(&mut world, 39, 40), verdict::YES, "the newest is there");
    let row = world.rows.0.values().map(bytes::Bytes::len).max().unwrap();
    assert!(row < 2_000, "{row} bytes");
    assert_eq!(turn(&mut world, 2, 41), verdict::REUSED, "the first had to go");
}

#[test]
fn a_line_ends_when_nobody_uses_it_or_when_it_is_ended() {
    let mut world = World::new();
    open(&mut world, "l", 1);
    world.now_ms += 60 * MINUTE - 1;
    assert_eq!(turn(&mut world, 1, 2), verdict::YES);
    world.now_ms += 60 * MINUTE;
    assert_eq!(turn(&mut world, 2, 3), verdict::NO);

    let mut world = World::new();
    for id in ["l", "m", "n"] {
        open(&mut world, id, 1);
    }
    for _ in 0..2 {
        step(&mut world, "u_a", "m", Login::EndLine { all: false });
    }
    assert_eq!(rows(&world), 4, "a line and its end, twice");
    assert_eq!(turn(&mut world, 1, 2), verdict::YES);
    step(&mut world, "u_a", "l", Login::EndLine { all: true });
    assert_eq!(rows(&world), 0);
}

#[test]
fn a_user_has_a_bounded_number_of_lines_and_the_one_that_ends_first_makes_room() {
    let mut world = World::new();
    for i in 0..70 {
        world.now_ms += 1;
        open(&mut world, &format!("l{i:02}"), 1);
    }
    assert_eq!(rows(&world), 2 * 64);
    let live = |world: &mut World, id: &str| {
        let turn = Login::TurnLine {
            token: hash(1),
            next: hash(2),
            valid_ms: MINUTE,
            grace_ms: 0,
        };
        step(world, "u_a", id, turn).s
    };
    assert_eq!(live(&mut world, "l05"), verdict::NO);
    assert_eq!(live(&mut world, "l06"), verdict::YES);
}

#[test]
fn what_is_over_is_swept_a_bounded_number_at_a_time_and_nothing_else_is() {
    let mut world = World::new();
    for i in 0..400 {
        let name = format!("ip_{i}");
        step(
            &mut world,
            &name,
            "",
            Login::Count {
                nonce: 1,
                limit: LIMIT,
            },
        );
    }
    put(&mut world, "c", 1);
    open(&mut world, "l", 1);
    let before = rows(&world);
    let sweep = |world: &mut World| step(world, "sweep", "", Login::Sweep);
    assert!(!read::is_over(&world.rows, world.now_ms).unwrap());
    assert_eq!(sweep(&mut world).s, 0);
    assert_eq!(rows(&world), before);
    world.now_ms += 5 * MINUTE;
    assert!(read::is_over(&world.rows, world.now_ms).unwrap());
    assert_eq!(sweep(&mut world).s, 1, "the code");
    turn(&mut world, 1, 2);
    world.now_ms += 55 * MINUTE;
    let swept = sweep(&mut world);
    assert_eq!((swept.s, swept.mn), (256, 1));
    let swept = sweep(&mut world);
    assert_eq!(
        (swept.s, swept.mn),
        (145, 0),
        "400 addresses of IP, one of a phone"
    );
    assert_eq!(rows(&world), 2, "the line was used meanwhile");
    assert_eq!(turn(&mut world, 2, 3), verdict::YES);
    world.now_ms += 60 * MINUTE;
    sweep(&mut world);
    assert_eq!(rows(&world), 0);
}

#[test]
fn keys_are_made_once_known_before_they_sign_and_kept_after() {
    let mut world = World::new();
    let turn = |world: &mut World, seed| {
        let step_of = Login::TurnKeys {
            seed: hash(seed),
            pepper: hash(seed),
            pace: PACE,
        };
        step(world, "keys", "", step_of).s
    };
    let ring = |world: &World| read::keyring(&world.rows).unwrap().unwrap();
    let seeds = |world: &World| {
        ring(world)
            .keys
            .iter()
            .map(|key| key.seed.0[0])
            .collect::<Vec<_>>()
    };
    let start = world.now_ms;
    assert_eq!(turn(&mut world, 1), verdict::YES);
    assert_eq!(turn(&mut world, 2), verdict::NO, "another node was first");
    assert_eq!(seeds(&world), [1]);
    world.now_ms = start + 899;
    assert_eq!(turn(&mut world, 3), verdict::NO);
    world.now_ms = start + 900;
    assert_eq!(turn(&mut world, 4), verdict::YES);
    assert_eq!(turn(&mut world, 5), verdict::NO);
    assert_eq!(seeds(&world), [1, 4]);
    assert_eq!(ring(&world).keys[1].from_ms, start + 1_000);
    assert_eq!(ring(&world).signing(start + 999), Some(0));
    assert_eq!(ring(&world).signing(start + 1_000), Some(1));
    world.now_ms = start + 1_299;
    assert_eq!(turn(&mut world, 6), verdict::NO);
    world.now_ms = start + 1_300;
    assert_eq!(turn(&mut world, 7), verdict::YES);
    assert_eq!(seeds(&world), [4], "no token of the first lives any more");
    // A cluster that was off for long publishes the next key before it uses it, as ever.
    world.now_ms = start + 50_000;
    assert_eq!(turn(&mut world, 8), verdict::YES);
    assert_eq!(ring(&world).keys[1].from_ms, start + 50_100);
    assert_eq!(ring(&world).signing(start + 50_099), Some(0));
    assert_eq!(ring(&world).pepper, hash(1), "it is for ever");
}

#[test]
fn a_clock_that_lags_behind_still_signs() {
    let seed = hash(1);
    let ring = Keyring {
        pepper: hash(0),
        keys: vec![SigningKey { seed, from_ms: 1_000 }],
    };
    assert_eq!(ring.signing(0), Some(0));
}

#[test]
fn secrets_do_not_print() {
    let login = Login::TurnKeys {
        seed: hash(0x41),
        pepper: hash(0x42),
        pace: PACE,
    };
    let printed = format!("{login:?}");
    assert!(!printed.contains("65") && !printed.contains("66"), "{printed}");
}
