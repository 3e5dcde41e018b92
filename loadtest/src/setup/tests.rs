//! Tests of the setup of a run: scenario files and their combination with the command line.

use super::*;
use crate::args::{Cli, CliCommand};
use crate::wire::Wire;
use clap::Parser;

const FILE: &str = r#"
    seed = 9
    [[part]]
    scenario = "groups"
    share = 3
    parameters = { groups = 2, members = 3 }
    [[part]]
    scenario = "pairs"
    share = 1
    [[phase]]
    name = "quiet"
    for = "10s"
    rate = 50
    [[phase]]
    name = "rush"
    for = "20s"
    rate = "50..400"
    faults = ["kill-owner@5s"]
"#;

fn load(line: &str) -> LoadArgs {
    let cli = Cli::try_parse_from(format!("x run pairs --local 3 {line}").split_whitespace()).unwrap();
    let CliCommand::Run(run) = cli.command else {
        panic!("{cli:?}")
    };
    run.load
}

#[test]
fn wires_of_the_file_are_overridden_by_the_command_line() {
    let file = |wire: &str| ScenarioFile::parse(&format!("{wire}\n[[part]]\nscenario = \"pairs\"\n"));
    let wires = |wire: &str, line: &str| {
        let setup = Setup::of(&file(wire).unwrap(), &load(line)).unwrap();
        (setup.plan.wire(0), setup.plan.wire(1), setup.plan.wire(2))
    };
    assert_eq!(wires("", ""), (Wire::Native, Wire::Native, Wire::Native));
    assert_eq!(
        wires("wire = [\"mqtt\", \"socketio\"]", ""),
        (Wire::Mqtt, Wire::SocketIo, Wire::Mqtt)
    );
    assert_eq!(
        wires("wire = \"mqtt\"", "--wire native,actioncable"),
        (Wire::Native, Wire::ActionCable, Wire::Native)
    );
    assert!(file("wire = \"pigeon\"").unwrap_err().contains("pigeon"));
}

#[test]
fn a_file_says_who_and_how_fast_and_when_what_breaks() {
    let setup = Setup::of(&ScenarioFile::parse(FILE).unwrap(), &load("")).unwrap();
    assert_eq!((setup.plan.clients, setup.seed), (26, 9));
    assert_eq!(setup.duration, Duration::from_secs(30));
    assert_eq!(
        setup.faults[0].at,
        Duration::from_secs(15),
        "ten before its phase"
    );
    let LoadPace::Open { rate, .. } = &setup.pace else {
        panic!("{setup:?}")
    };
    assert!((rate.reaches(500.0) - 10.0).abs() < 1e-6);
    assert_eq!(rate.parts()[1].name, "rush");
}

#[test]
fn workers_are_refused_what_one_process_must_see_whole() {
    let of = |scenario| Setup::of(&ScenarioFile::of(scenario), &load("")).unwrap();
    for scenario in Scenario::ALL {
        let refused = of(scenario).is_for_workers();
        let expected = match scenario {
            Scenario::Channel => Some("channels"),
            Scenario::ReconnectStorm => Some("storms"),
            Scenario::Mixed | Scenario::Soak => Some("mixed"),
            Scenario::Conversations | Scenario::Hostile => Some("hostile"),
            _ => None,
        };
        match expected {
            Some(word) => assert!(refused.unwrap_err().contains(word), "{scenario:?}"),
            None => assert_eq!(refused, Ok(()), "{scenario:?}"),
        }
    }
}

#[test]
fn the_command_line_wins_over_the_file() {
    let file = ScenarioFile::parse(FILE).unwrap();
    let setup = Setup::of(&file, &load("--rate 7 --duration 3s --seed 2 --size 100")).unwrap();
    assert_eq!(
        (setup.pace, setup.duration, setup.seed, setup.size),
        (
            LoadPace::Open {
                rate: 7.0.into(),
                arrival: ArrivalProcess::Poisson
            },
            Duration::from_secs(3),
            2,
            100
        )
    );
    assert!(
        Setup::of(&file, &load("--clients 4")).is_err(),
        "which part is meant?"
    );
}

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    for wrong in [
        "rate = 1",
        "rate = 1\nwindow = 2\n[[part]]\nscenario = \"pairs\"",
        "rates = 1\n[[part]]\nscenario = \"pairs\"",
        "duration = \"1y\"\n[[part]]\nscenario = \"pairs\"",
    ] {
        assert!(ScenarioFile::parse(wrong).is_err(), "{wrong}");
    }
    let unknown = ScenarioFile::parse("[[part]]\nscenario = \"duel\"").unwrap();
    assert!(Setup::of(&unknown, &load("")).unwrap_err().contains("duel"));
}

#[test]
fn steps_and_a_ramp_last_as_long_as_the_load() {
    let setup = Setup::of(
        &ScenarioFile::of(Scenario::Pairs),
        &load("--steps 100,200,400 --duration 30s"),
    )
    .unwrap();
    let LoadPace::Open { rate, .. } = &setup.pace else {
        panic!("{setup:?}")
    };
    assert!((rate.reaches(3000.0) - 20.0).abs() < 1e-6);
    let setup = Setup::of(
        &ScenarioFile::of(Scenario::Pairs),
        &load("--rate 100..300 --duration 10s"),
    )
    .unwrap();
    assert_eq!(setup.parameters["rate"], "100..300");
}
