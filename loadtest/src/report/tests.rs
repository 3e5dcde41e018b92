//! A report of a run that never was, and what is made of it.

use std::collections::BTreeMap;

use super::*;
use crate::measure::{RateProbe, ReconnectStorm, Recorder};
use crate::oracle::Oracle;

/// Two nodes, one of which is down for a while.
pub(super) fn report(ack_us: u64) -> RunReport {
    let mut recorder = Recorder::new();
    recorder.phase("steady", 1_000_000_000);
    for second in 1..9u64 {
        for _ in 0..200 {
            recorder.sent();
            let due = second * 1_000_000_000;
            recorder.acked(due, due + ack_us * 1000);
            recorder.delivered(due, due + 2 * ack_us * 1000);
        }
        recorder.tick((second + 1) * 1_000_000_000);
    }
    let sample = |at: u64, node| Sample {
        at_s: at as f64,
        node,
        up: node == 0 || at < 4,
        cpu_percent: (node == 0).then_some(20.0 + at as f64),
        rss_kib: Some(60_000),
        fsyncs_per_s: Some(100.0),
        takeovers: Some(0),
        owned_shards: Some(16),
        sessions: Some(4),
    };
    let samples: Vec<_> = (1..9).flat_map(|at| [sample(at, 0), sample(at, 1)]).collect();
    let figures = Percentiles::of(&recorder.phases()[1].ack);
    RunReport {
        schema: 1,
        version: "0.0.0".to_owned(),
        scenario: "pairs".to_owned(),
        parameters: BTreeMap::from([("rate".to_owned(), "<b>200</b>".to_owned())]),
        seed: 7,
        target: TargetReport {
            nodes: vec!["a:1".to_owned(), "b:2".to_owned()],
            local: true,
            settings: vec!["storage.fsync=true".to_owned()],
            guarantee: "fsync on a majority".to_owned(),
        },
        elapsed_s: 8.0,
        counts: JudgedCounts::default(),
        delivered: 1600,
        acks_per_s: 200.0,
        deliveries_per_s: 200.0,
        phases: recorder.phases().iter().map(PhaseReport::from).collect(),
        faults: vec![Injected {
            fault: "kill-owner@4s+3s".to_owned(),
            nodes: vec![2],
            from_s: 4.0,
            until_s: 7.0,
            outcome: FaultOutcome::Installed,
            problem: None,
            evidence: None,
        }],
        errors: BTreeMap::from([("connection lost".to_owned(), 2)]),
        nodes: Vec::new(),
        cost: MessageCost {
            nodes_us_per_message: Some(40.0),
            harness_us_per_message: Some(10.0),
            ..MessageCost::default()
        },
        harness: HarnessReport::default(),
        violations: Vec::new(),
        late_sights: 0,
        seconds: recorder.seconds().to_vec(),
        samples: samples.clone(),
        curves: Curves::of(recorder.phases()),
        operations: BTreeMap::from([("read".to_owned(), figures)]),
        reconnects: Reconnects {
            lost: 5,
            online: figures,
            storms: vec![ReconnectStorm {
                at_s: 4.0,
                clients: 5,
                level_after_s: 0.25,
            }],
            ..Reconnects::default()
        },
        memory: MemoryTrend::of(&samples, 2, &[]),
        find_max: Some(FoundMax {
            limit_p99_us: 50_000,
            limit_errors: 0.001,
            held: Some(200.0),
            probes: vec![RateProbe {
                rate: 400.0,
                held: false,
                why: Some("p99 61.0 ms".to_owned()),
                sent: 4000,
                errors: 0,
                ack: figures,
                deliver: figures,
                harness_cpu_percent: 30.0,
            }],
        }),
        conversations: vec![ManyReport {
            conversations: 1000,
            to_ready: figures,
            to_listed: figures,
            to_synced: figures,
            list: figures,
            sync: figures,
            sync_shows: 200,
            begin_cpu_us: Some(900.0),
            list_cpu_us: Some(120.0),
            sync_cpu_us: None,
            kib_per_subscription: None,
        }],
        hostile: BTreeMap::from([("lists".to_owned(), 70)]),
        missing: None,
        own: (1..9)
            .map(|at| HarnessSample {
                at_s: f64::from(at),
                cpu_percent: 12.0,
                rss_kib: 9000,
            })
            .collect(),
        fdatasync: Some(figures),
    }
}

#[test]
fn a_page_has_every_chart_and_needs_no_other_host() {
    let page = report(2000).html();
    for chart in [
        "Send to ack",
        "Throughput",
        "Percentiles",
        "CPU of each node",
        "Memory",
        "Fsyncs",
        "Owners",
        "Other operations",
        "Storms",
        "The highest rate",
        "The harness itself",
        "Users with many conversations",
        "Hostile sessions",
    ] {
        assert!(page.contains(chart), "{chart}");
    }
    assert_eq!(page.matches("<svg").count(), 9);
    assert_eq!(
        page.matches("kill-owner\n</text>").count(),
        8,
        "a mark in every chart over time"
    );
    let hosts = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!hosts.contains("://") && !hosts.contains("<script") && !hosts.contains("<link"));
    assert!(!page.contains("<b>200</b>"), "parameters are text");
}

#[test]
fn every_colour_of_a_chart_has_its_dark_counterpart() {
    let page = report(2000).html();
    let colours = page.split("stroke=\"#").skip(1).map(|rest| &rest[..6]);
    for colour in colours {
        assert!(page.contains(&format!("[stroke=\"#{colour}\"]")), "{colour}");
    }
}

#[test]
fn a_report_is_read_back_as_it_was_written() {
    let written = serde_json::to_value(report(2000)).unwrap();
    let read: RunReport = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), written);
}

#[test]
fn what_a_report_cannot_know_is_a_dash_in_every_form() {
    let mut restarted = report(2000);
    restarted.cost = MessageCost::default();
    let foreign = Usage::default().with_metrics("rookery_storage_fsyncs_total 40");
    restarted.nodes = vec![
        NodeReport::new("a:1", None, None, 8.0, 1600),
        NodeReport::new("b:2", Some(foreign), None, 8.0, 1600),
    ];
    let table = restarted.table();
    let costs =
        "CPU per message: nodes – us, harness – us; per delivery: nodes – us; memory per client: – KiB";
    assert!(table.contains(costs), "{table}");
    assert!(
        table.contains("harness: 0 connections, RSS 0.0 MiB (– KiB per connection)"),
        "{table}"
    );
    let of_foreign = table.lines().find(|line| line.starts_with("b:2")).unwrap();
    let cells: Vec<_> = of_foreign.split_whitespace().collect();
    assert_eq!(cells, ["b:2", "–", "–", "–", "40", "40.0"]);
    let page = restarted.html();
    assert!(
        !page.contains("CPU of the nodes per message"),
        "no tile for what is not known"
    );
    let written = serde_json::to_value(&restarted).unwrap();
    for (name, figure) in written["cost"].as_object().unwrap() {
        assert!(figure.is_null(), "{name}: {figure}");
    }
    assert!(written["nodes"][1]["usage"]["cpu_us"].is_null());
    assert!(written["harness"]["kib_per_connection"].is_null());
}

#[test]
fn a_comparison_says_what_is_better_and_what_is_worse() {
    let folder = std::env::temp_dir().join(format!("rookery-compare-{}", std::process::id()));
    let (a, b) = (folder.join("a"), folder.join("b"));
    let (mut slow, fast) = (report(4000), report(2000));
    slow.cost.nodes_us_per_message = Some(20.0);
    slow.cost.harness_us_per_message = Some(500.0);
    slow.target.guarantee = "memory".to_owned();
    for (folder, report) in [(&a, &slow), (&b, &fast)] {
        report.write(folder, Oracle::new().history()).unwrap();
    }
    compare::compare(&a, &b.join("report.json"), Some(&folder)).unwrap();
    let page = std::fs::read_to_string(folder.join("compare.html")).unwrap();
    let missing = compare::compare(&a, &folder.join("none.json"), None);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        page.contains("-50.0 % better") && page.contains("+100.0 % worse"),
        "{page}"
    );
    assert!(page.contains("÷50.0 better"), "large changes are told in times");
    assert!(
        page.contains("The guarantee of an ack differs between A"),
        "{page}"
    );
    assert!(missing.is_err());
}

#[test]
fn every_field_of_a_report_is_documented() {
    let page = include_str!("../../../docs/loadtest-report.md");
    let serde_json::Value::Object(fields) = serde_json::to_value(report(2000)).unwrap() else {
        panic!("an object")
    };
    for field in fields.keys() {
        let named = [format!("`{field}`"), format!("`{field}[]`")];
        assert!(
            named.iter().any(|name| page.contains(name.as_str())),
            "docs/loadtest-report.md doesn't say what {field} is"
        );
    }
}
