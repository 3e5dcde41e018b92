//! Frozen tails of the events.

use protocol::event::{self, Event, PresenceState, event_frame};
use protocol::response::LastEvent;
use protocol::{
    CloseCode, CustomData, EncodedEvent, FieldPatch, HistoryVisibility, MembershipChange, Response, Role,
    ServerFrame,
};

use crate::{MSG_TAIL, assert_complete, body, conv, conv_shape, msg, user};

#[test]
fn every_event_has_its_frozen_tail() {
    let member = event::MemberEvent {
        conversation: conv("g_01"),
        seq: 8,
        timestamp_ms: 9,
        user: user("alice"),
        member: user("bob"),
        role: Some(Role::Reader),
        change: MembershipChange::Invite,
        data: FieldPatch::Keep,
    };
    let data = FieldPatch::Set(CustomData::new(r#"{"x" : 1}"#).unwrap());
    let edit = event::EditEvent {
        conversation: conv("g_01"),
        seq: 9,
        target_seq: 7,
        user: user("alice"),
        timestamp_ms: 10,
        body: body(r#"{"text":"ho"}"#),
        mentions: None,
        deleted: false,
    };
    let table = [
        (Event::Msg(msg()), MSG_TAIL.to_owned()),
        (
            Event::Msg(event::MessageEvent { reply_to: Some(3), mentions: vec![user("bob"), user("eve")], ..msg() }),
            MSG_TAIL.trim_end_matches('}').to_owned() + r#"},"reply_to":3,"mentions":["bob","eve"]}"#,
        ),
        (
            Event::Msg(event::MessageEvent { body: body("{}"), reply_to: Some(3), deleted: true, ..msg() }),
            r#""t":"msg","c":"g_01","s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{},"reply_to":3,"deleted":true}"#.into(),
        ),
        (
            Event::Edit(edit.clone()),
            r#""t":"edit","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"b":{"text":"ho"}}"#.into(),
        ),
        (
            Event::Edit(event::EditEvent { mentions: Some(vec![]), ..edit.clone() }),
            r#""t":"edit","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"b":{"text":"ho"},"mentions":[]}"#.into(),
        ),
        (
            Event::Edit(event::EditEvent { body: body("{}"), deleted: true, ..edit }),
            r#""t":"edit","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"b":{},"deleted":true}"#.into(),
        ),
        (
            Event::Del(event::DeleteEvent { conversation: conv("g_01"), seq: 9, target_seq: 7, user: user("alice"), timestamp_ms: 10 }),
            r#""t":"del","c":"g_01","s":9,"of":7,"u":"alice","ts":10}"#.into(),
        ),
        (
            Event::React(event::ReactionEvent {
                conversation: conv("g_01"),
                seq: 9,
                target_seq: 7,
                user: user("alice"),
                timestamp_ms: 10,
                reaction: "👍".into(),
                active: false,
                removed_by: None,
            }),
            r#""t":"react","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"k":"👍","on":false}"#.into(),
        ),
        (
            Event::React(event::ReactionEvent {
                conversation: conv("g_01"),
                seq: 9,
                target_seq: 7,
                user: user("alice"),
                timestamp_ms: 10,
                reaction: "👍".into(),
                active: false,
                removed_by: Some(user("bob")),
            }),
            r#""t":"react","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"k":"👍","on":false,"by":"bob"}"#.into(),
        ),
        (
            Event::Meta(event::MetadataEvent {
                conversation: conv("g_01"),
                seq: 9,
                timestamp_ms: 10,
                user: user("alice"),
                title: Some("Team".into()),
                history: Some(HistoryVisibility::Joined),
                data: FieldPatch::Keep,
            }),
            r#""t":"meta","c":"g_01","s":9,"ts":10,"u":"alice","title":"Team","history":"joined"}"#.into(),
        ),
        (
            Event::Meta(event::MetadataEvent {
                conversation: conv("g_01"),
                seq: 9,
                timestamp_ms: 10,
                user: user("alice"),
                title: None,
                history: None,
                data: FieldPatch::Remove,
            }),
            r#""t":"meta","c":"g_01","s":9,"ts":10,"u":"alice","data":null}"#.into(),
        ),
        (
            Event::Member(event::MemberEvent { change: MembershipChange::Role, data, ..member.clone() }),
            r#""t":"member","c":"g_01","s":8,"ts":9,"u":"alice","who":"bob","role":"reader","why":"role","data":{"x" : 1}}"#.into(),
        ),
        (
            Event::Typing(event::TypingEvent { conversation: conv("g_01"), user: user("bob"), active: true }),
            r#""t":"typing","c":"g_01","u":"bob","on":true}"#.into(),
        ),
        (
            Event::Profile(event::ProfileEvent { user: user("bob"), version: 4 }),
            r#""t":"profile","u":"bob","ver":4}"#.into(),
        ),
        (
            Event::Presence(event::PresenceEvent { user: user("bob"), state: PresenceState::Online, last_seen_ms: Some(9) }),
            r#""t":"presence","u":"bob","state":"online","seen":9}"#.into(),
        ),
        (
            Event::Presence(event::PresenceEvent { user: user("eve"), state: PresenceState::Offline, last_seen_ms: None }),
            r#""t":"presence","u":"eve","state":"offline","seen":null}"#.into(),
        ),
        (
            Event::Member(member.clone()),
            r#""t":"member","c":"g_01","s":8,"ts":9,"u":"alice","who":"bob","role":"reader","why":"invite"}"#.into(),
        ),
        (
            Event::Member(event::MemberEvent { role: None, change: MembershipChange::Kick, ..member }),
            r#""t":"member","c":"g_01","s":8,"ts":9,"u":"alice","who":"bob","role":null,"why":"kick"}"#.into(),
        ),
        (
            Event::Conv(conv_shape()),
            r#""t":"conv","c":"d_x","kind":"direct","title":null,"role":"member","last":{"s":7,"mn":5,"ts":9},"unread":2,"mentions":1,"read":6,"delivered":7,"muted":false,"pinned":false,"peer":{"u":"bob","delivered":7,"read":2},"events":[{"#.to_owned()
                + MSG_TAIL
                + r#"],"gap":true}"#,
        ),
        (
            Event::Receipt(event::ReceiptEvent { conversation: conv("g_01"), user: user("bob"), delivered: 7, read: 6 }),
            r#""t":"receipt","c":"g_01","u":"bob","delivered":7,"read":6}"#.into(),
        ),
        (
            Event::Activity(event::ActivityEvent { conversation: conv("g_01"), last: LastEvent { seq: 7, message_number: 5, timestamp_ms: 9 } }),
            r#""t":"activity","c":"g_01","last":{"s":7,"mn":5,"ts":9}}"#.into(),
        ),
        (Event::Resync(event::ResyncEvent { reason: "slow".into() }), r#""t":"resync","why":"slow"}"#.into()),
        (
            Event::Bye(event::CloseEvent::new(CloseCode::Draining, 1830)),
            r#""t":"bye","code":4012,"retry_ms":1830}"#.into(),
        ),
    ];
    assert_complete(&Event::shapes(), table.iter().map(|(event, _)| event.tag()));
    for (event, tail) in table {
        assert_eq!(event.tail(), tail);
        let frame = event_frame(413, &tail);
        assert_eq!(frame, format!("{{\"n\":413,{tail}"));
        assert_eq!(
            ServerFrame::decode(&frame),
            Ok(ServerFrame::Event {
                session_seq: 413,
                event
            }),
            "{frame}"
        );
    }
}

#[test]
fn an_event_is_the_same_bytes_live_and_in_history() {
    let raw = EncodedEvent::from_tail(msg().parts().tail().as_bytes()).unwrap();
    assert_eq!(raw.tail(), MSG_TAIL);
    assert_eq!(raw.frame(1), event_frame(1, MSG_TAIL));
    assert_eq!(raw.event(), Some(Event::Msg(msg())));
}

#[test]
fn a_shape_of_a_later_version_is_ignored_and_its_number_counts() {
    assert_eq!(
        ServerFrame::decode(r#"{"n":5,"t":"hologram","c":"g_01"}"#),
        Ok(ServerFrame::Unknown { session_seq: Some(5) })
    );
    let more = r#"{"t":"hb","id":7,"time":5,"moon":"full"}"#;
    assert!(matches!(
        ServerFrame::decode(more),
        Ok(ServerFrame::Response {
            response: Response::Hb(_),
            ..
        })
    ));
}
