//! Tests of the client against a real broker, mosquitto, if it is installed.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};
use serde_json::Value;

use super::tool_run::run_tool;
use crate::payload::{MessageTag, Payload};

/// Broker process that is killed on drop.
struct Broker {
    process: Child,
    address: String,
    config: std::path::PathBuf,
}

impl Broker {
    /// Starts a broker; `None` if mosquitto is not installed.
    fn start(name: &str) -> Option<Broker> {
        let address = super::reserved_addr();
        let config =
            std::env::temp_dir().join(format!("rookery-mosquitto-{name}-{}.conf", std::process::id()));
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n",
            address.port()
        );
        std::fs::write(&config, text).unwrap();
        // Debian installs it outside of a user's search path.
        let spawn = |program| {
            let mut command = Command::new(program);
            command
                .arg("-c")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.spawn()
        };
        let process = spawn("mosquitto").or_else(|_| spawn("/usr/sbin/mosquitto"));
        let Ok(process) = process else {
            let _ = std::fs::remove_file(config);
            eprintln!("SKIPPED: there is no mosquitto on this machine");
            return None;
        };
        let broker = Broker {
            process,
            address: address.to_string(),
            config,
        };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "mosquitto does not listen"
            );
            pause();
        }
        Some(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

fn load(broker: &Broker, load: &str) -> (Result<bool, String>, Value) {
    let run = run_tool(&format!(
        "{load} --broker --nodes {} --settle 20s",
        broker.address
    ));
    (run.passed, run.report)
}

#[test]
fn a_broker_is_loaded_measured_and_judged() {
    let Some(broker) = Broker::start("load") else {
        return;
    };
    let (passed, report) = load(
        &broker,
        "pairs --clients 6 --window 8 --messages 1200 --duration 60s",
    );
    assert_eq!(passed, Ok(true));
    let counts = &report["counts"];
    assert_eq!(
        (&counts["acked"], &counts["applied"]),
        (&1200.into(), &2400.into())
    );
    let steady = &report["phases"][1];
    assert_eq!(
        (&steady["ack"]["count"], &steady["deliver"]["count"]),
        (&1200.into(), &1200.into())
    );
    assert_eq!(report["target"]["guarantee"], "unknown");

    let (passed, report) = load(
        &broker,
        "room --clients 20 -p speakers=2 --rate 100 --messages 100 --duration 60s --guarantee memory",
    );
    assert_eq!(passed, Ok(true));
    assert_eq!(report["delivered"], 100 * 19);
    assert_eq!(report["target"]["guarantee"], "memory");

    let (passed, report) = load(&broker, "idle --clients 50 --duration 1s");
    assert_eq!(passed, Ok(true));
    assert_eq!(report["harness"]["connections"], 50);
}

#[test]
fn what_a_broker_cannot_do_is_refused_before_the_run() {
    let refused = |arguments: &str| run_tool(arguments).passed.unwrap_err();
    let team = "pairs --broker --nodes a:1 --coordinator 127.0.0.1:0 --workers 2";
    assert!(refused(team).contains("--broker"));
    assert!(refused("pairs --broker --wire socketio --nodes a:1").contains("--wire"));
}

#[test]
fn a_message_is_opened_as_it_was_sealed() {
    let payload = Payload::new(7, 64);
    let tag = MessageTag {
        sender: 3,
        ordinal: 9,
    };
    let mut bytes = BytesMut::new();
    let mut publish = Publish::new("t/1", QoS::AtLeastOnce, payload.seal("t/1", tag, 55));
    publish.pkid = 12;
    Packet::Publish(publish).write(&mut bytes, 1024).unwrap();
    let Ok(Packet::Publish(read)) = Packet::read(&mut bytes, 1024) else {
        panic!("a PUBLISH is read back")
    };
    assert_eq!(payload.open("t/1", &read.payload), Some((tag, 55)));
    assert_eq!(
        payload.open("t/2", &read.payload),
        None,
        "it belongs to its topic"
    );
    let mut other = read.payload.to_vec();
    for at in 0..other.len() {
        other[at] ^= 1;
        assert_eq!(payload.open("t/1", &other), None, "byte {at}");
        other[at] ^= 1;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no runtime runs here: the test waits for a process"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
