//! Tests of the command line.

use super::find_max::parse_part;
use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
    let line = "x run pairs --local 3 --rate 500 --duration 60s --seed 7 --fault kill-owner@20s --report d --set a=b";
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    let CliCommand::Run(run) = cli.command else {
        panic!("{cli:?}")
    };
    assert_eq!(run.load.rate, "500".parse().ok());
    assert_eq!(run.load.duration, Some(Duration::from_secs(60)));
    assert!(
        Cli::try_parse_from("x run pairs".split(' ')).is_err(),
        "a target is needed"
    );
}

#[test]
fn a_team_and_source_addresses_are_read() {
    let line = "x run idle --nodes a:1 --sources 127.0.0.2-127.0.0.4,127.0.1.1 --connect-rate 500 --coordinator 127.0.0.1:0 --workers 3";
    let CliCommand::Run(run) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
        panic!("a run")
    };
    assert_eq!(run.connections.sources().len(), 4);
    assert_eq!(
        (run.team.workers, run.connections.connect_rate),
        (Some(3), Some(500.0))
    );
    let alone = "x run idle --nodes a:1 --coordinator 127.0.0.1:0";
    assert!(
        Cli::try_parse_from(alone.split(' ')).is_err(),
        "how many workers?"
    );
}

#[test]
fn addresses_and_ranges_are_read() {
    let read = |text: &str| text.parse::<SourceAddresses>().map(|sources| sources.0.len());
    assert_eq!(read("127.0.0.2"), Ok(1));
    assert_eq!(read("::1"), Ok(1));
    assert_eq!(read("127.0.0.2-127.0.0.9"), Ok(8));
    for wrong in ["127.0.0.9-127.0.0.2", "localhost", "10.0.0.0-11.0.0.0", "::1-::2"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_part_is_read_as_percent_or_as_a_number() {
    assert!((parse_part("0.1%").unwrap() - 0.001).abs() < 1e-12);
    assert_eq!(parse_part("0.05"), Ok(0.05));
    assert!(parse_part("120%").is_err() && parse_part("some").is_err());
}
