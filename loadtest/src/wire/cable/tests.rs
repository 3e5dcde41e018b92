//! Tests of the translation between native frames and those of ActionCable.

use protocol::ConversationId;
use serde_json::Value;

use super::*;
use crate::wire;

fn wire() -> CableWire {
    CableWire::new(WireLogin {
        token: "dev:ann".to_owned(),
        device: "d".to_owned(),
        instance: "i".to_owned(),
    })
}

fn sent(out: Vec<Message>) -> Vec<Value> {
    let texts = out.into_iter().map(|message| message.into_text().unwrap());
    texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

/// Returns the sent frames and the native frames of some received ones.
fn receive(wire: &mut CableWire, received: &[Value]) -> (Vec<Value>, Vec<Value>, Result<(), WireEnd>) {
    let (mut out, mut frames) = (Vec::new(), Vec::new());
    let result = received.iter().try_for_each(|frame| {
        wire.receive(&Message::text(frame.to_string()), &mut out, &mut |frame| {
            frames.push(serde_json::from_str(frame).unwrap());
        })
    });
    (sent(out), frames, result)
}

fn status(kind: &str) -> Value {
    json!({"type": kind, "identifier": identifier("g_1")})
}

fn event(s: u64) -> Value {
    json!({
        "identifier": identifier("g_1"),
        "message": {"n": s + 7, "t": "msg", "c": "g_1", "s": s},
        "stream_id": "g_1",
        "epoch": "1",
        "offset": s,
    })
}

fn open() -> String {
    wire::encode(Some(3), wire::open(&ConversationId::parse("g_1").unwrap()))
}

/// Returns a wire whose channel has received event 5.
fn subscribed() -> CableWire {
    let mut wire = wire();
    let welcome = json!({"type": "welcome", "sid": "1a"});
    let (_, frames, _) = receive(&mut wire, &[welcome]);
    assert_eq!(frames, [json!({"t": "ready", "sid": "1a", "resumed": false})]);
    let mut out = Vec::new();
    wire.send(open(), &mut out);
    let subscribe = json!({"command": "subscribe", "identifier": identifier("g_1")});
    assert_eq!(sent(out), [subscribe], "`open` waits");
    let (performed, frames, _) = receive(&mut wire, &[status("confirm_subscription")]);
    assert_eq!((performed.len(), frames.len()), (1, 0));
    assert_eq!(performed[0]["identifier"], identifier("g_1"));
    let data: Value = serde_json::from_str(performed[0]["data"].as_str().unwrap()).unwrap();
    assert_eq!((&data["action"], &data["id"]), (&json!("open"), &json!(3)));
    let answer = json!({"t": "conv", "id": 3, "c": "g_1", "last": {"s": 4}});
    let message = json!({"identifier": identifier("g_1"), "message": answer});
    let (_, frames, received) = receive(&mut wire, &[message, event(5)]);
    assert_eq!((frames.len(), received), (2, Ok(())));
    wire
}

fn history() -> Value {
    json!({"streams": {"g_1": {"epoch": "1", "offset": 5}}})
}

#[test]
fn continued_session_asks_for_the_history_of_its_channels() {
    let mut wire = subscribed();
    wire.begin(&mut Vec::new());
    let request = wire.upgrade("a:1").unwrap();
    assert_eq!(request.uri(), "ws://a:1/cable?device=d&instance=i&sid=1a");
    assert_eq!(request.headers()["authorization"], "Bearer dev:ann");
    let welcome = json!({
        "type": "welcome", "sid": "2b", "restored": true, "restored_ids": [identifier("g_1")],
    });
    let (out, frames, _) = receive(&mut wire, &[welcome, event(6)]);
    let asked = json!({"command": "history", "identifier": identifier("g_1"), "history": history()});
    assert_eq!(out, [asked]);
    assert_eq!(frames.len(), 1, "{frames:?}");
    let (_, frames, _) = receive(&mut wire, &[status("confirm_history")]);
    assert_eq!(frames, [json!({"t": "ready", "sid": "2b", "resumed": true})]);
    // A reload of an event that the client has would be shown twice.
    let (.., received) = receive(&mut wire, &[event(6)]);
    assert!(matches!(received, Err(WireEnd::Malformed(_))), "{received:?}");
}

#[test]
fn lost_session_subscribes_with_its_offsets() {
    let mut wire = subscribed();
    wire.begin(&mut Vec::new());
    let welcome = json!({"type": "welcome", "sid": "2b"});
    let ping = json!({"type": "ping", "message": 1});
    let (out, ..) = receive(&mut wire, &[welcome, ping.clone(), ping.clone(), ping]);
    let asked = json!({"command": "subscribe", "identifier": identifier("g_1"), "history": history()});
    assert_eq!(out, [asked.clone(), asked], "again after some pings");
    let received = [
        status("confirm_subscription"),
        event(6),
        status("confirm_history"),
    ];
    let (_, frames, _) = receive(&mut wire, &received);
    assert_eq!(frames[1], json!({"t": "ready", "sid": "2b", "resumed": true}));
}

#[test]
fn refused_history_and_an_ended_membership_need_a_sync() {
    for refusals in [
        &["confirm_subscription", "reject_history"][..],
        &["reject_subscription"],
    ] {
        let mut wire = subscribed();
        wire.begin(&mut Vec::new());
        receive(&mut wire, &[json!({"type": "welcome", "sid": "2b"})])
            .2
            .unwrap();
        let refusals: Vec<Value> = refusals.iter().map(|kind| status(kind)).collect();
        let (_, frames, _) = receive(&mut wire, &refusals);
        assert_eq!(frames, [json!({"t": "ready", "sid": "2b", "resumed": false})]);
    }
}

#[test]
fn removed_member_performs_without_a_subscription() {
    let mut wire = subscribed();
    receive(&mut wire, &[event(6), status("reject_subscription")])
        .2
        .unwrap();
    let mut out = Vec::new();
    wire.send(open(), &mut out);
    let (performed, ..) = receive(&mut wire, &[status("reject_subscription")]);
    assert_eq!(
        (out.len(), performed.len()),
        (1, 1),
        "the refusal is the response to `open`"
    );
}

#[test]
fn disconnect_forgets_the_session() {
    let mut wire = subscribed();
    let restart = json!({"type": "disconnect", "reason": "server_restart", "reconnect": true});
    let (.., ended) = receive(&mut wire, &[restart]);
    assert_eq!(ended, Err(WireEnd::Ended("server_restart".to_owned())));
    assert!(!wire.upgrade("a:1").unwrap().uri().to_string().contains("sid"));
}

#[test]
fn event_frames_without_a_subscription_are_caught() {
    for frame in [
        json!({}),
        json!({"type": "confirm_subscription", "identifier": identifier("g_2")}),
        status("confirm_subscription"),
        status("confirm_history"),
    ] {
        let (.., received) = receive(&mut subscribed(), std::slice::from_ref(&frame));
        assert!(matches!(received, Err(WireEnd::Malformed(_))), "{frame}");
    }
}
