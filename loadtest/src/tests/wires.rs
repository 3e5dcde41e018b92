//! Tests of the gateways' wires against three real nodes: clients that lose their connections again and again, under
//! the oracle.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::Value;

use super::tool_run::run_tool;

/// Returns the first of a local cluster's HTTP ports: those of its nodes are free, as are their ports between nodes.
fn free_base() -> u16 {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Below the ports that the system hands out, and different in each process.
    let start = std::process::id() % 2_000;
    let mut candidates = (0..2_000).map(|step| 10_000 + 10 * ((start + step) % 2_000) as u16);
    let free = candidates.find(|base| {
        let ports = (0..3).flat_map(|node| [base + node, base + 500 + node]);
        ports.into_iter().all(is_free)
    });
    free.expect("some ports are free")
}

/// Runs a scenario on three nodes, and returns its report.
fn report_of(load: &str) -> Value {
    let run = run_tool(&format!(
        "{load} --local 3 --http-base {} --settle 90s",
        free_base()
    ));
    assert_eq!(run.passed, Ok(true), "{}", run.history);
    run.report
}

/// Clients of these protocols flap, and every message is acknowledged and delivered.
fn flap(wires: &str) {
    let report = report_of(&format!(
        "flapping --wire {wires} -p clients=12 -p stays=2 --rate 60 --messages 600 --duration 60s --size 64"
    ));
    let counts = &report["counts"];
    assert_eq!(counts["violations"], 0, "{counts}");
    assert_eq!((&counts["sent"], &counts["acked"]), (&600.into(), &600.into()));
    assert!(counts["applied"].as_u64() >= Some(2 * 600), "{counts}");
    let back = &report["reconnects"];
    assert!(back["resumed"].as_u64() > Some(0), "{back}");
}

#[test]
fn socket_io_clients_recover_everything() {
    flap("socketio");
}

#[test]
fn socket_io_clients_that_poll_any_node_recover_everything() {
    flap("socketio-polling");
}

#[test]
fn mqtt_clients_continue_their_sessions() {
    flap("mqtt");
}

#[test]
fn action_cable_clients_read_their_history() {
    flap("actioncable");
}

#[test]
fn removed_members_of_each_protocol_receive_nothing_more() {
    let report = report_of(
        "groups --wire native,socketio,socketio-polling,mqtt,actioncable -p groups=2 -p members=5 -p speakers=5 \
         -p kicks=4 -p every=1 --rate 60 --messages 600 --duration 60s",
    );
    let counts = &report["counts"];
    assert_eq!(counts["violations"], 0, "{counts}");
    let judged = counts["acked"].as_u64().unwrap() + counts["refused"].as_u64().unwrap();
    assert_eq!(judged, 600, "{counts}");
    // The member of each gateway is removed on the way, and continues to send.
    assert!(counts["refused"].as_u64() > Some(30), "{counts}");
    assert!(counts["applied"].as_u64() > Some(600), "{counts}");
}
