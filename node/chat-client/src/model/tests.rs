//! Connections that end, and sessions that continue at another node.

use protocol::command::ResumeTarget;
use serde_json::json;

use super::*;

fn model() -> ChatModel {
    ChatModel::new(UserId::parse("alice").unwrap(), "dev:alice".to_owned())
}

fn hello(model: &mut ChatModel, node: &str) -> Vec<ClientCommand> {
    model.connected(node);
    let hello = json!({"t": "hello", "proto": 1, "server": "n2", "hb_ms": 30_000, "auth_ms": 10_000,
        "max_frame": 65_536, "time": 1});
    sent(&model.frame(&hello.to_string()))
}

fn ready(model: &mut ChatModel, sid: &str, resumed: bool, n: u64) -> Vec<ClientAction> {
    let limits = json!({"body_bytes": 16_384, "sends_per_s": 20, "burst": 60, "ephemeral_per_s": 2});
    let ready = json!({"t": "ready", "user": "alice", "sid": sid, "resumed": resumed, "n": n,
        "resume_ttl_ms": 90_000, "limits": limits});
    model.frame(&ready.to_string())
}

fn sent(acts: &[ClientAction]) -> Vec<ClientCommand> {
    let of = |act: &ClientAction| match act {
        ClientAction::Send(text) => Some(Request::decode(text).unwrap().unwrap().command),
        _ => None,
    };
    acts.iter().filter_map(of).collect()
}

fn sync_id(acts: &[ClientAction]) -> Option<i64> {
    acts.iter().find_map(|act| match act {
        ClientAction::Send(text) => {
            let request = Request::decode(text).unwrap().unwrap();
            matches!(request.command, ClientCommand::Sync(_)).then_some(request.id?)
        }
        _ => None,
    })
}

fn answer_sync(model: &mut ChatModel, id: i64) {
    model.frame(&json!({"t": "delta", "id": id, "as_of": [], "items": []}).to_string());
}

fn resumes(commands: &[ClientCommand]) -> Option<(String, u64)> {
    let [ClientCommand::Auth(auth)] = commands else {
        panic!("one auth, not {} commands", commands.len());
    };
    match auth.resume.clone()? {
        ResumeTarget::Session(session) => Some((session.session_id, session.session_seq)),
        ResumeTarget::Device(_) => panic!("this client names no device"),
    }
}

/// Returns a client with a session, of which it has received three events.
fn with_session() -> ChatModel {
    let mut model = model();
    assert_eq!(resumes(&hello(&mut model, "a:1")), None);
    let sync = sync_id(&ready(&mut model, "s1", false, 0));
    answer_sync(&mut model, sync.expect("a new session catches up"));
    for n in 1..=3 {
        let event = json!({"t": "presence", "n": n, "u": "bob", "state": "online"});
        model.frame(&event.to_string());
    }
    model
}

#[test]
fn session_is_resumed_at_the_next_node_behind_the_last_event() {
    let mut model = with_session();
    assert_eq!(resumes(&hello(&mut model, "b:1")), Some(("s1".to_owned(), 3)));
    let acts = ready(&mut model, "s2", true, 3);
    let line = "-- connected as alice to n2 at b:1, session resumed";
    assert_eq!(acts, [ClientAction::Print(line.to_owned())]);
    assert_eq!(
        resumes(&hello(&mut model, "a:1")),
        Some(("s2".to_owned(), 3)),
        "by its new id"
    );
}

#[test]
fn a_session_that_is_gone_is_replaced_by_a_new_one_with_a_sync() {
    let mut model = with_session();
    hello(&mut model, "b:1");
    let acts = ready(&mut model, "s2", false, 0);
    let line = "-- connected as alice to n2 at b:1, new session";
    assert_eq!(acts[0], ClientAction::Print(line.to_owned()));
    assert!(sync_id(&acts).is_some());
    assert_eq!(resumes(&hello(&mut model, "a:1")), Some(("s2".to_owned(), 0)));
}

#[test]
fn sync_without_a_response_is_sent_again_in_the_resumed_session() {
    let mut model = with_session();
    hello(&mut model, "b:1");
    ready(&mut model, "s2", false, 0);
    hello(&mut model, "a:1");
    let acts = ready(&mut model, "s3", true, 0);
    answer_sync(&mut model, sync_id(&acts).expect("the sync again"));
    hello(&mut model, "b:1");
    assert_eq!(sync_id(&ready(&mut model, "s4", true, 0)), None);
}

#[test]
fn changes_wait_for_the_next_node_and_keep_their_keys() {
    let mut model = with_session();
    model.open = Some(LineTarget::User(UserId::parse("bob").unwrap()));
    let first = sent(&model.line("one"));
    model.connected("b:1");
    assert_eq!(model.line("two"), [ClientAction::Print("   pending".to_owned())]);
    hello(&mut model, "b:1");
    let again = sent(&ready(&mut model, "s2", true, 3));
    assert_eq!(again.len(), 2);
    assert_eq!(cid_of(&again[0]), cid_of(&first[0]));
}

#[test]
fn receive_timeout_is_two_heartbeats() {
    let mut model = model();
    assert_eq!(model.receive_timeout(), Duration::from_secs(60));
    model.connected("a:1");
    let hello = json!({"t": "hello", "proto": 1, "server": "n2", "hb_ms": 3_000, "auth_ms": 10_000,
        "max_frame": 65_536, "time": 1});
    model.frame(&hello.to_string());
    assert_eq!(model.receive_timeout(), Duration::from_secs(6));
}

#[test]
fn forgotten_session_is_not_resumed() {
    let mut model = with_session();
    model.forget_session();
    assert_eq!(resumes(&hello(&mut model, "b:1")), None);
}
