//! Tests of the text form and the plans of faults.

use std::time::Duration;

use crate::spec::*;

#[test]
fn a_plan_is_read_as_it_is_written() {
    let fault: Fault = "kill-owner@20s".parse().unwrap();
    assert_eq!(
        (fault.how, fault.target, fault.at),
        (FaultKind::Kill, FaultTarget::Owner, Duration::from_secs(20))
    );
    let fault: Fault = "stop-2@1.5s+250ms".parse().unwrap();
    assert_eq!(
        (fault.target, fault.at, fault.hold),
        (
            FaultTarget::Node(2),
            Duration::from_millis(1500),
            Duration::from_millis(250)
        )
    );
    assert_eq!(
        "drain-any@2m".parse::<Fault>().unwrap().to_string(),
        "drain-any@120s+3s"
    );
    for wrong in [
        "kill",
        "kill@20s",
        "kill-owner",
        "burn-owner@1s",
        "kill-me@1s",
        "kill-any@1y",
        "kill-any@x",
    ] {
        assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
    }
}

#[test]
fn what_is_written_in_a_plan_is_what_is_done() {
    let text = r#"
        [[fault]]
        do = "cut-1:3@2s+6s"

        [[fault]]
        how = "kill"
        whom = "follower"
        at = "1s"
    "#;
    let faults = FaultPlan::parse(text).unwrap().faults;
    let written: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        written,
        ["kill-follower@1s+3s", "cut-1:3@2s+6s"],
        "in order of time"
    );
    let in_turn = FaultPlan::parse(&format!("gap = \"2s\"\n{text}")).unwrap();
    assert_eq!(in_turn.gap, Some(Duration::from_secs(2)));
    let written: Vec<_> = in_turn.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        written,
        ["cut-1:3@2s+6s", "kill-follower@1s+3s"],
        "in order of the file"
    );
    for wrong in [
        "gap = \"soon\"",
        "[[fault]]\nhow = \"kill\"",
        "[[fault]]\ndo = \"kill-any@1s\"\nat = \"2s\"",
        "[[fault]]\ndo = \"kill-any\"",
        "[[faults]]\ndo = \"kill-any@1s\"",
    ] {
        assert!(FaultPlan::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn fault_plan_repeats_its_faults_and_gives_node_settings() {
    let plan = FaultPlan::parse(
        "gap = \"1s\"\nsettings = [\"retention.every_ms=500\"]\n[[fault]]\ndo = \"pausecut-owner@0s+1s\"\ntimes = 3",
    )
    .unwrap();
    assert_eq!(plan.faults.len(), 3);
    assert_eq!(plan.settings, ["retention.every_ms=500"]);
    for wrong in [
        "[[fault]]\ndo = \"kill-any@1s\"\ntimes = 3",
        "settings = [\"fsync\"]",
    ] {
        assert!(FaultPlan::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_fault_is_parsed_as_it_is_displayed() {
    let now: Fault = "kill-any@0s+1s".parse().unwrap();
    assert_eq!(now.to_string(), "kill-any@0s+1s");
    for how in [
        "kill",
        "mute",
        "deaf",
        "rollback",
        "full",
        "slow",
        "clock",
        "clock-ahead",
        "clock-behind",
        "clock-drift",
        "pausecut",
        "kick",
        "move",
        "swizzle",
    ] {
        let text = format!("{how}-owner@1s+2s");
        assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
    }
    assert!("kill-1:3@1s".parse::<Fault>().is_err(), "a link cannot be killed");
    let ahead: Fault = "clock-ahead-majority@1s".parse().unwrap();
    assert_eq!(
        (ahead.how, ahead.target),
        (FaultKind::ClockAhead, FaultTarget::Majority)
    );
    assert!(
        "kick-bridge@1s".parse::<Fault>().is_ok(),
        "the node is cut off, not stopped"
    );
}

#[test]
fn random_fault_plan_follows_its_seed_and_sometimes_overlaps() {
    let minute = Duration::from_secs(60);
    let mut in_twos = 0;
    for seed in 0..400 {
        let faults = FaultPlan::random(4, minute, seed);
        assert_eq!(faults, FaultPlan::random(4, minute, seed));
        assert_eq!(faults.len(), 4);
        let mut together = 0;
        for pair in faults.windows(2) {
            together += usize::from(pair[1].at < pair[0].at + pair[0].hold);
        }
        in_twos += usize::from(together > 0);
        for fault in &faults {
            assert!(fault.at + fault.hold <= minute.mul_f64(0.9), "{fault}");
        }
    }
    assert!((60..140).contains(&in_twos), "{in_twos} of 400");
    assert_ne!(FaultPlan::random(4, minute, 1), FaultPlan::random(4, minute, 2));
}

#[test]
fn drawn_faults_can_be_limited_to_the_start_of_the_load() {
    let drawn = |text: &str, seed| {
        let random: RandomFaults = text.parse().unwrap();
        random.draw(Duration::from_secs(720), seed)
    };
    for seed in 0..50 {
        let faults = drawn("random:8@4m", seed);
        assert_eq!(faults.len(), 8);
        let healed = faults.iter().map(|fault| fault.at + fault.hold).max();
        assert!(healed.unwrap() <= Duration::from_secs(240), "{faults:?}");
    }
    assert_eq!(
        drawn("random:8", 3),
        FaultPlan::random(8, Duration::from_secs(720), 3)
    );
    for wrong in ["random:", "random:x", "random:3@", "random:3@soon", "3"] {
        assert!(wrong.parse::<RandomFaults>().is_err(), "{wrong}");
    }
}

#[test]
fn a_plan_knows_what_the_cluster_must_have() {
    let needs = |text: &str| FaultPlan::default().with(vec![text.parse().unwrap()]).needs();
    assert_eq!(needs("kill-any@1s"), FaultNeeds::default());
    assert!(needs("delay-all@1s").proxies);
    assert!(needs("full-any@1s").small_disks);
    assert!(needs("clock-any@1s").clocks && needs("clock-behind-any@1s").clocks);
    assert!(needs("pausecut-owner@1s").proxies && needs("kick-bridge@1s").proxies);
    assert!(!needs("kick-owner@1s").proxies);
}

#[test]
fn the_plans_that_come_with_the_harness_can_be_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let plan = FaultPlan::read(&entry.unwrap().path()).unwrap();
        assert!(!plan.faults.is_empty());
        read += 1;
    }
    assert!(read >= 2, "{read}");
}
