//! Frozen texts of the responses, and of the messages that REST returns.

use std::collections::BTreeMap;

use protocol::event;
use protocol::response::{self, ConversationSnapshot, DirectPeer, Response};
use protocol::{
    ConversationKind, CustomData, EncodedEvent, ErrorCode, GroupInvite, HistoryVisibility, MessageState,
    Role, ServerFrame,
};

use crate::{MSG_TAIL, assert_complete, body, cid, conv, conv_shape, msg, user};

#[test]
fn every_response_has_its_frozen_text() {
    let c = conv("g_01");
    let event = || EncodedEvent::from_tail(MSG_TAIL.as_bytes()).unwrap();
    let ready = response::ReadyResponse {
        user: user("u42"),
        session_id: "s1".into(),
        resumed: true,
        session_seq: 412,
        reason: None,
        resume_ttl_ms: 90_000,
        limits: response::SessionLimits {
            body_bytes: 16_384,
            sends_per_second: 20,
            burst: 60,
            ephemeral_per_second: 2,
        },
    };
    let item = response::ConversationListItem {
        conversation: conv("d_x"),
        kind: ConversationKind::Direct,
        title: None,
        role: Some(Role::Member),
        last: Some(event()),
        unread: 2,
        mentions: 1,
        read: 4,
        delivered: 7,
        muted: false,
        pinned: false,
        peer: Some(DirectPeer {
            user: user("bob"),
            delivered: 7,
            read: 7,
        }),
        stale: false,
    };
    let ack = response::Ack {
        conversation: c.clone(),
        client_message_id: cid("k1"),
        seq: Some(7),
        message_number: Some(5),
        timestamp_ms: Some(9),
        duplicate: false,
    };
    let me = response::MeResponse {
        user: user("alice"),
        group_invite: GroupInvite::NoOne,
        name: None,
        avatar: None,
        data: None,
        version: None,
    };
    let card = response::UserCard {
        name: Some("B".into()),
        avatar: Some("/b".into()),
        version: 3,
    };
    let data = || Some(CustomData::new(r#"{"x" : 1}"#).unwrap());
    let msg = format!("{{{MSG_TAIL}");
    let table = [
        (
            None,
            Response::Hello(response::HelloResponse {
                protocol_version: 1,
                server: "n2".into(),
                heartbeat_interval_ms: 30_000,
                auth_timeout_ms: 10_000,
                max_frame_bytes: 65_536,
                timestamp_ms: 5,
            }),
            r#"{"t":"hello","proto":1,"server":"n2","hb_ms":30000,"auth_ms":10000,"max_frame":65536,"time":5}"#.into(),
        ),
        (
            Some(1),
            Response::Ready(ready.clone()),
            r#"{"t":"ready","id":1,"user":"u42","sid":"s1","resumed":true,"n":412,"resume_ttl_ms":90000,"limits":{"body_bytes":16384,"sends_per_s":20,"burst":60,"ephemeral_per_s":2}}"#.to_owned(),
        ),
        (
            None,
            Response::Ready(response::ReadyResponse { resumed: false, session_seq: 0, reason: Some(response::NotResumed::Gap), ..ready }),
            r#"{"t":"ready","user":"u42","sid":"s1","resumed":false,"n":0,"why":"gap","resume_ttl_ms":90000,"limits":{"body_bytes":16384,"sends_per_s":20,"burst":60,"ephemeral_per_s":2}}"#.into(),
        ),
        (
            Some(-1),
            Response::Ack(ack.clone()),
            r#"{"t":"ack","id":-1,"c":"g_01","cid":"k1","s":7,"mn":5,"ts":9}"#.into(),
        ),
        (
            None,
            Response::Ack(response::Ack { message_number: None, duplicate: true, ..ack }),
            r#"{"t":"ack","c":"g_01","cid":"k1","s":7,"ts":9,"dup":true}"#.into(),
        ),
        (Some(7), Response::Ok(response::OkResponse {}), r#"{"t":"ok","id":7}"#.into()),
        (
            Some(7),
            Response::Conv(ConversationSnapshot { peer: None, events: None, gap: false, title: Some("T".into()), ..conv_shape() }),
            r#"{"t":"conv","id":7,"c":"d_x","kind":"direct","title":"T","role":"member","last":{"s":7,"mn":5,"ts":9},"unread":2,"mentions":1,"read":6,"delivered":7,"muted":false,"pinned":false}"#.into(),
        ),
        (
            Some(7),
            Response::Conv(ConversationSnapshot {
                peer: None,
                events: None,
                gap: false,
                history: Some(HistoryVisibility::All),
                members: Some(3),
                ..conv_shape()
            }),
            r#"{"t":"conv","id":7,"c":"d_x","kind":"direct","title":null,"role":"member","last":{"s":7,"mn":5,"ts":9},"unread":2,"mentions":1,"read":6,"delivered":7,"muted":false,"pinned":false,"history":"all","members":3}"#.into(),
        ),
        (
            Some(7),
            Response::Members(response::MembersResponse {
                items: vec![
                    response::ConversationMember { user: user("bob"), role: Role::Reader, delivered: Some(7), read: Some(6), data: data() },
                    response::ConversationMember { user: user("cy"), role: Role::Owner, delivered: None, read: None, data: None },
                ],
                next: Some("x".into()),
                users: [(user("bob"), card)].into(),
            }),
            r#"{"t":"members","id":7,"items":[{"u":"bob","role":"reader","delivered":7,"read":6,"data":{"x" : 1}},{"u":"cy","role":"owner"}],"next":"x","users":{"bob":{"name":"B","avatar":"/b","ver":3}}}"#.into(),
        ),
        (
            Some(7),
            Response::Inbox(response::ConversationList { items: vec![item], next: Some("x".into()), users: BTreeMap::new() }),
            r#"{"t":"inbox","id":7,"items":[{"c":"d_x","kind":"direct","title":null,"role":"member","last":"#.to_owned()
                + &msg
                + r#","unread":2,"mentions":1,"read":4,"delivered":7,"muted":false,"pinned":false,"peer":{"u":"bob","delivered":7,"read":7}}],"next":"x"}"#,
        ),
        (
            Some(7),
            Response::Hist(response::HistoryResponse { conversation: c.clone(), events: vec![event()], more: true, gap: false }),
            format!(r#"{{"t":"hist","id":7,"c":"g_01","events":[{msg}],"more":true}}"#),
        ),
        (
            Some(7),
            Response::Hist(response::HistoryResponse { conversation: c.clone(), events: vec![], more: false, gap: true }),
            r#"{"t":"hist","id":7,"c":"g_01","events":[],"more":false,"gap":true}"#.into(),
        ),
        (
            Some(7),
            Response::Delta(response::SyncResponse {
                as_of: vec![(c.clone(), 7)],
                items: vec![response::SyncResponseItem { conversation: c, events: vec![event()], gap: false }],
                next: None,
            }),
            format!(
                r#"{{"t":"delta","id":7,"as_of":[["g_01",7]],"items":[{{"c":"g_01","events":[{msg}],"gap":false}}],"next":null}}"#
            ),
        ),
        (
            Some(7),
            Response::Me(me.clone()),
            r#"{"t":"me","id":7,"u":"alice","group_invite":"nobody"}"#.into(),
        ),
        (
            Some(7),
            Response::Me(response::MeResponse { name: Some("A".into()), avatar: Some("/a".into()), data: data(), version: Some(2), ..me }),
            r#"{"t":"me","id":7,"u":"alice","group_invite":"nobody","name":"A","avatar":"/a","data":{"x" : 1},"ver":2}"#.into(),
        ),
        (
            Some(7),
            Response::Users(response::UsersResponse {
                items: vec![
                    response::UserProfile { user: user("bob"), name: Some("B".into()), avatar: Some("/b".into()), data: data(), version: 3 },
                    response::UserProfile { user: user("eve"), name: None, avatar: None, data: None, version: 0 },
                ],
            }),
            r#"{"t":"users","id":7,"items":[{"u":"bob","name":"B","avatar":"/b","data":{"x" : 1},"ver":3},{"u":"eve","ver":0}]}"#.into(),
        ),
        (Some(7), Response::Hb(response::HeartbeatResponse { timestamp_ms: 5 }), r#"{"t":"hb","id":7,"time":5}"#.into()),
        (
            Some(7),
            Response::Err(response::ErrorResponse::new(ErrorCode::NotMember, "no", Some(5))),
            r#"{"t":"err","id":7,"code":"not_member","http":403,"temp":false,"msg":"no"}"#.into(),
        ),
        (
            None,
            Response::Err(response::ErrorResponse::new(ErrorCode::Busy, "later", None)),
            r#"{"t":"err","code":"busy","http":503,"temp":true,"msg":"later","retry_ms":1000}"#.into(),
        ),
    ];
    assert_complete(
        &Response::shapes(),
        table.iter().map(|(_, response, _)| response.tag()),
    );
    for (id, response, text) in table {
        assert_eq!(response.encode(id), text);
        assert_eq!(
            ServerFrame::decode(&text),
            Ok(ServerFrame::Response { id, response }),
            "{text}"
        );
    }
}

#[test]
fn a_message_as_it_is_now_has_its_frozen_text() {
    let message = MessageState::from(msg());
    let text =
        r#"{"s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{"text":"hi"},"reactions":{}}"#;
    assert_eq!(serde_json::to_string(&message).unwrap(), text);
    let message = MessageState {
        edited_timestamp_ms: Some(9),
        reactions: [("👍".to_owned(), 2), ("+1".to_owned(), 1)].into(),
        reply_to: Some(3),
        mentions: vec![user("bob")],
        ..message
    };
    let text = r#"{"s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{"text":"hi"},"edited_ts":9,"reactions":{"+1":1,"👍":2},"reply_to":3,"mentions":["bob"]}"#;
    assert_eq!(serde_json::to_string(&message).unwrap(), text);
    assert_eq!(serde_json::from_str::<MessageState>(text).unwrap(), message);
    let message = MessageState::from(event::MessageEvent {
        body: body("{}"),
        deleted: true,
        ..msg()
    });
    let text =
        r#"{"s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{},"reactions":{},"deleted":true}"#;
    assert_eq!(serde_json::to_string(&message).unwrap(), text);
}
