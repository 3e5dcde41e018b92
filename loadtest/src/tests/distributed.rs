//! Tests with a coordinator and two workers, each a process, against a fake cluster. A worker's process is this test
//! binary, which then runs the test that serves as its main function.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;

use crate::args::{self, Cli};
use crate::distributed::{gather, work};
use crate::fake_server::{Defect, FakeServer};
use crate::run;

/// Environment variable with the address of the coordinator.
const COORDINATOR: &str = "ROOKERY_TEST_COORDINATOR";
const SECRET: &str = "quill";

/// Result of a run.
struct RunOutcome {
    passed: Result<bool, String>,
    workers: Vec<ExitStatus>,
    report: Value,
}

#[test]
#[ignore = "the process of a worker, which the other tests start"]
fn process_of_a_worker() {
    let Ok(coordinator) = std::env::var(COORDINATOR) else {
        return;
    };
    let line = ["x", "worker", "--coordinator", &coordinator, "--secret", SECRET];
    let args::CliCommand::Worker(args) = Cli::try_parse_from(line).unwrap().command else {
        unreachable!()
    };
    let passed = block_on(work(&args));
    std::process::exit(match passed {
        Ok(true) => 0,
        Ok(false) => 2,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    });
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

fn worker(coordinator: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "tests::distributed::process_of_a_worker",
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    command.env(COORDINATOR, coordinator);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Runs `load` with two workers against a cluster with a defect. `disturb` gets the workers after the start.
fn run_with(
    name: &str,
    defect: Defect,
    load: &str,
    disturb: impl AsyncFnOnce(&FakeServer, &mut [Child]),
) -> RunOutcome {
    let coordinator = super::reserved_addr().to_string();
    let folder = std::env::temp_dir().join(format!("rookery-team-{name}-{}", std::process::id()));
    let mut workers = vec![worker(&coordinator), worker(&coordinator)];
    let passed = block_on(async {
        let fake = FakeServer::start(2, 5, false, defect).await;
        let line = format!(
            "x run {load} --nodes {} --coordinator {coordinator} --workers 2 --secret {SECRET} --settle 10s --report {}",
            fake.nodes.join(","),
            folder.display()
        );
        let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let args::CliCommand::Run(args) = Cli::try_parse_from(&line).unwrap().command else {
            unreachable!()
        };
        let (passed, ()) = tokio::join!(run::run(&args, line), disturb(&fake, &mut workers));
        passed.map_err(|error| error.to_string())
    });
    let workers = workers.iter_mut().map(ended).collect();
    let report = std::fs::read(folder.join("report.json")).unwrap_or_default();
    let _ = std::fs::remove_dir_all(&folder);
    RunOutcome {
        passed,
        workers,
        report: serde_json::from_slice(&report).unwrap_or_default(),
    }
}

/// Waits for the end of a process, and kills it if it does not end.
fn ended(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > Duration::from_secs(60) {
            let _ = child.kill();
        }
        pause();
    }
}

#[test]
fn two_workers_load_judge_and_measure_as_one() {
    let outcome = run_with(
        "sound",
        Defect::None,
        "groups -p groups=3 -p members=3 --window 4 --messages 900 --duration 60s",
        async |_, _| {},
    );
    assert_eq!(outcome.passed, Ok(true));
    assert!(outcome.workers.iter().all(ExitStatus::success));
    let report = outcome.report;
    let counts = &report["counts"];
    assert_eq!((&counts["sent"], &counts["acked"]), (&900.into(), &900.into()));
    assert_eq!(counts["applied"], 3 * 900, "every member applied every message");
    assert_eq!(counts["read_back"], 900);
    let steady = &report["phases"][1];
    assert_eq!(steady["name"], "steady");
    assert_eq!(steady["ack"]["count"], 900, "each ack is in the joined histogram");
    assert_eq!(steady["deliver"]["count"], 2 * 900);
    assert_eq!(
        report["harness"]["events_compared"], 900,
        "each event has members at both workers"
    );
    let seconds = report["seconds"].as_array().unwrap();
    let acked: u64 = seconds
        .iter()
        .map(|second| second["acked"].as_u64().unwrap())
        .sum();
    assert_eq!(acked, 900);
    let clients: Vec<_> = (0..2)
        .map(|worker| &report["harness"]["workers"][worker]["clients"])
        .collect();
    assert_eq!(clients, [&5, &4]);
}

#[test]
fn clients_of_two_workers_come_and_go_while_the_rate_rises() {
    let outcome = run_with(
        "flapping",
        Defect::None,
        "flapping -p clients=10 -p members=5 -p stays=1 --steps 60,120 --duration 6s",
        async |_, _| {},
    );
    assert_eq!(outcome.passed, Ok(true));
    let report = outcome.report;
    let lost = report["reconnects"]["lost"].as_u64().unwrap();
    let level = report["reconnects"]["level"]["count"].as_u64().unwrap();
    assert!(
        lost >= 10 && level > 0,
        "clients of both workers: {}",
        report["reconnects"]
    );
    let phases = report["phases"].as_array().unwrap();
    let of = |name: &str| {
        let phase = phases.iter().find(|phase| phase["name"] == name).unwrap();
        phase["ack"]["count"].as_u64().unwrap()
    };
    assert!(of("60/s") > 0 && of("120/s") > of("60/s"), "{phases:?}");
}

#[test]
fn a_fork_between_two_workers_ends_the_run_on_both() {
    // Each worker has one client of each pair, so neither can detect the defect by itself.
    let outcome = run_with(
        "fork",
        Defect::ForksQuietly,
        "pairs --clients 2 --window 4 --messages 2000 --duration 60s --no-readback",
        async |_, _| {},
    );
    assert_eq!(outcome.passed, Ok(false));
    let violation = &outcome.report["violations"][0];
    assert_eq!(violation["kind"], "fork", "{violation}");
    let codes: Vec<_> = outcome.workers.iter().map(ExitStatus::code).collect();
    assert_eq!(codes, [Some(2), Some(2)]);
}

#[test]
fn a_violation_at_one_worker_ends_the_whole_run() {
    let outcome = run_with(
        "altered",
        Defect::AltersBody,
        "pairs --clients 4 --window 4 --messages 2000 --duration 60s",
        async |_, _| {},
    );
    assert_eq!(outcome.passed, Ok(false));
    assert_eq!(outcome.report["violations"][0]["kind"], "altered");
    let codes: Vec<_> = outcome.workers.iter().map(ExitStatus::code).collect();
    assert_eq!(codes, [Some(2), Some(2)]);
}

#[test]
fn a_worker_that_dies_ends_the_run_with_its_name() {
    let outcome = run_with(
        "death",
        Defect::None,
        "pairs --clients 4 --rate 50 --duration 120s",
        async |fake, workers| {
            while fake.online() < 4 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            workers[0].kill().unwrap();
        },
    );
    let why = outcome.passed.unwrap_err();
    assert!(
        why.starts_with("worker ") && why.contains("disconnected"),
        "{why}"
    );
    assert_eq!(outcome.workers[1].code(), Some(1), "the other one ends, too");
}

#[test]
fn a_worker_with_another_secret_is_refused() {
    let coordinator = super::reserved_addr().to_string();
    block_on(async {
        let listener = crate::args::TeamArgs {
            coordinator: Some(coordinator.clone()),
            workers: Some(1),
            secret: Some("another".to_owned()),
        };
        let come = async {
            let line = ["x", "worker", "--coordinator", &coordinator, "--secret", SECRET];
            let args::CliCommand::Worker(args) = Cli::try_parse_from(line).unwrap().command else {
                unreachable!()
            };
            work(&args).await
        };
        let gather = gather(&listener, Duration::from_secs(30));
        let refused = tokio::select! {
            refused = come => refused,
            _ = gather => panic!("nobody was welcome"),
        };
        assert!(refused.unwrap_err().to_string().contains("secret"));
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "no runtime runs here: the test waits for a process"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
