//! Simulation: three members over a simulated network and simulated disks, in one thread and in paused time.
//!
//! A seed decides the network's weather, the faults, and what the clients do. After the faults everything is healed,
//! and the cluster must converge and answer; then every [invariant](invariants) is checked against what the clients
//! were told and what each replica holds. openraft draws its election timeouts from the system's randomness, so a seed
//! repeats a scenario, not every step of it.
//!
//! `SIM_SEEDS=first..last` chooses other seeds; a failure prints the seed. With `RUST_LOG` set the run is logged, in
//! simulated time.
//!
//! With a [seeded bug](cluster::seeded_bugs) the same runs must report a violation.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod batcher;
mod client;
mod clocks;
mod digests;
mod faults;
mod invariants;
mod leave;
mod log;
mod machine;
mod member;
mod panics;
mod paused;
mod rebuilds;
mod scenarios;
mod simulation;
mod upgrades;

use std::ops::Range;

use cluster::seeded_bugs::SeededBug;
use simulation::{RunPlan, Simulation, Violation};

/// Seeds in one test; [`sound`] has eight of them for each kind of plan.
const BLOCK: u64 = 25;

/// Runs one seed.
fn run(seed: u64, plan: &RunPlan) -> Result<(), Violation> {
    paused::run(&format!("seed {seed}"), async || {
        Simulation::new(seed, plan).run(plan).await
    })
}

fn seeds(block: u64) -> Range<u64> {
    match std::env::var("SIM_SEEDS") {
        Ok(range) => {
            let (first, last) = range.split_once("..").unwrap();
            first.parse().unwrap()..last.parse().unwrap()
        }
        Err(_) => block * BLOCK..(block + 1) * BLOCK,
    }
}

/// As [`run`], and nothing may panic either: a task's panic would otherwise pass for a crash.
fn run_soundly(seed: u64, plan: &RunPlan) -> Result<(), Violation> {
    panics::forget();
    run(seed, plan)?;
    panics::none().map_err(|what| Violation {
        seed,
        invariant: "nothing panics",
        what,
    })
}

fn hold(block: u64, plan: impl Fn(u64) -> RunPlan) {
    for seed in seeds(block) {
        if let Err(violation) = run_soundly(seed, &plan(seed)) {
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            panic!(
                "{violation}\nto see it again: SIM_SEEDS={seed}..{} cargo test -p rookery-cluster \
                 --features planted-bugs --test sim {test}",
                seed + 1
            );
        }
    }
}

/// The bug must be caught within this many seeds.
fn is_caught(bug: SeededBug, plan: impl Fn(u64) -> RunPlan) {
    cluster::seeded_bugs::plant(Some(bug));
    let caught = (1000..1000 + 2 * BLOCK).find_map(|seed| run(seed, &plan(seed)).err());
    cluster::seeded_bugs::plant(None);
    let violation = caught.unwrap_or_else(|| panic!("{bug:?} was not caught"));
    println!("{bug:?} was caught: {violation}");
}

mod sound {
    use super::{RunPlan, hold};

    macro_rules! blocks {
        ($($name:ident = $block:literal),*) => { $(
            #[test]
            fn $name() {
                hold($block, RunPlan::faulty);
            }
        )* };
    }

    blocks!(
        invariants_hold_0 = 0,
        invariants_hold_1 = 1,
        invariants_hold_2 = 2,
        invariants_hold_3 = 3,
        invariants_hold_4 = 4,
        invariants_hold_5 = 5,
        invariants_hold_6 = 6,
        invariants_hold_7 = 7
    );

    macro_rules! pauses {
        ($($name:ident = $block:literal),*) => { $(
            #[test]
            fn $name() {
                hold($block, RunPlan::pause_cuts);
            }
        )* };
    }

    macro_rules! rebuilds {
        ($($name:ident = $block:literal),*) => { $(
            #[test]
            fn $name() {
                hold($block, RunPlan::rebuilds);
            }
        )* };
    }

    rebuilds!(rebuilds_lose_nothing_0 = 0, rebuilds_lose_nothing_1 = 1);

    pauses!(
        reads_are_fresh_after_pauses_0 = 0,
        reads_are_fresh_after_pauses_1 = 1,
        reads_are_fresh_after_pauses_2 = 2,
        reads_are_fresh_after_pauses_3 = 3,
        reads_are_fresh_after_pauses_4 = 4,
        reads_are_fresh_after_pauses_5 = 5,
        reads_are_fresh_after_pauses_6 = 6,
        reads_are_fresh_after_pauses_7 = 7
    );
}

mod seeded {
    use super::{RunPlan, SeededBug, is_caught, machine, run, run_soundly};

    #[test]
    fn an_ack_before_the_fsync_is_caught() {
        is_caught(SeededBug::AckBeforeFsync, RunPlan::power_cuts);
    }

    #[test]
    fn an_ack_before_the_fsync_is_caught_by_one_power_cut_at_a_time() {
        is_caught(SeededBug::AckBeforeFsync, RunPlan::pause_kills);
    }

    #[test]
    fn an_epoch_that_apply_does_not_check_is_caught() {
        is_caught(SeededBug::EpochUnchecked, RunPlan::deposed_owners);
    }

    #[test]
    fn a_replica_that_is_deleted_while_it_votes_is_caught() {
        is_caught(SeededBug::VoterDeleted, RunPlan::rebuilds);
    }

    #[test]
    fn a_time_that_apply_does_not_check_is_caught() {
        is_caught(SeededBug::TimeUnchecked, RunPlan::wrong_clocks);
    }

    #[test]
    fn a_dedup_row_outside_the_batch_is_caught() {
        machine::forget_dedup(true);
        let caught = (1000..1050).find_map(|seed| run(seed, &RunPlan::faulty(seed)).err());
        machine::forget_dedup(false);
        println!(
            "caught: {}",
            caught.expect("the dedup row outside the batch was not caught")
        );
    }

    #[test]
    fn a_read_under_a_lease_that_a_pause_stretches_is_caught() {
        is_caught(SeededBug::LeaseReads, RunPlan::pause_cuts);
    }

    #[test]
    fn a_row_that_differs_is_caught_by_the_digest() {
        machine::differ(true);
        let caught = run(1000, &RunPlan::faulty(1000));
        machine::differ(false);
        let violation = caught.expect_err("the row that differs was not caught");
        assert_eq!(
            violation.invariant, "replicas agree on what they applied",
            "{violation}"
        );
    }

    #[test]
    fn the_same_plans_without_a_bug_are_sound() {
        for seed in 1000..1005 {
            let plans = [
                RunPlan::power_cuts,
                RunPlan::deposed_owners,
                RunPlan::pause_kills,
                RunPlan::pause_cuts,
                RunPlan::wrong_clocks,
                RunPlan::rebuilds,
            ];
            for plan in plans.map(|plan| plan(seed)) {
                if let Err(violation) = run_soundly(seed, &plan) {
                    panic!("{violation}");
                }
            }
        }
    }
}
