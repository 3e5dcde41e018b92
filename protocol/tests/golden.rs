//! One frozen text per shape. A difference here is a change of the protocol: clients in the field depend on it.

#![expect(clippy::unwrap_used, reason = "tests")]

use protocol::answer::{self, ConversationSnapshot, DirectPeer, LastEvent, Response};
use protocol::command::{self, ClientCommand, Request};
use protocol::event::{self, Event, PresenceState, event_frame};
use protocol::{
    Body, ClientMessageId, CloseCode, ConversationId, ConversationKind, EncodedEvent, ErrorCode, GroupInvite,
    HistoryVisibility, MembershipChange, MessageState, Role, ServerFrame, UserId,
};

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn conv(text: &str) -> ConversationId {
    ConversationId::parse(text).unwrap()
}

fn cid(text: &str) -> ClientMessageId {
    ClientMessageId::parse(text).unwrap()
}

fn body(text: &str) -> Body {
    Body::new(text).unwrap()
}

fn send() -> command::SendMessage {
    command::SendMessage {
        conversation: Some(conv("g_01")),
        to: None,
        client_message_id: cid("k1"),
        body: body(r#"{"text":"hi"}"#),
        reply_to: None,
        mentions: vec![],
        echo: true,
    }
}

#[test]
fn every_command_has_its_frozen_text() {
    let c = conv("g_01");
    let act = || command::MemberAction {
        conversation: conv("g_01"),
        client_message_id: cid("k1"),
        member: user("bob"),
    };
    let table = [
        (
            ClientCommand::Auth(command::Authenticate {
                token: "dev:alice".into(),
                device: Some("phone-1".into()),
                instance: Some("x7".into()),
                resume: Some(command::ResumeSession {
                    session_id: "s1".into(),
                    session_seq: 412,
                }),
            }),
            r#"{"t":"auth","id":7,"token":"dev:alice","device":"phone-1","instance":"x7","resume":{"sid":"s1","n":412}}"#,
        ),
        (
            ClientCommand::Auth(command::Authenticate {
                token: "t".into(),
                device: None,
                instance: None,
                resume: None,
            }),
            r#"{"t":"auth","id":7,"token":"t"}"#,
        ),
        (
            ClientCommand::Send(send()),
            r#"{"t":"send","id":7,"c":"g_01","cid":"k1","b":{"text":"hi"}}"#,
        ),
        (
            ClientCommand::Send(command::SendMessage {
                conversation: None,
                to: Some(user("bob")),
                reply_to: Some(3),
                mentions: vec![user("bob"), user("eve")],
                echo: false,
                ..send()
            }),
            r#"{"t":"send","id":7,"to":"bob","cid":"k1","b":{"text":"hi"},"reply_to":3,"mentions":["bob","eve"],"echo":false}"#,
        ),
        (
            ClientCommand::Create(command::CreateConversation {
                kind: ConversationKind::Group,
                client_message_id: cid("k1"),
                members: vec![user("bob")],
                title: Some("Team".into()),
            }),
            r#"{"t":"create","id":7,"kind":"group","cid":"k1","members":["bob"],"title":"Team"}"#,
        ),
        (
            ClientCommand::Edit(command::EditMessage {
                conversation: c.clone(),
                target_seq: 3,
                client_message_id: cid("k1"),
                body: body(r#"{"text":"ho"}"#),
                mentions: None,
            }),
            r#"{"t":"edit","id":7,"c":"g_01","of":3,"cid":"k1","b":{"text":"ho"}}"#,
        ),
        (
            ClientCommand::Edit(command::EditMessage {
                conversation: c.clone(),
                target_seq: 3,
                client_message_id: cid("k1"),
                body: body("{}"),
                mentions: Some(vec![user("bob")]),
            }),
            r#"{"t":"edit","id":7,"c":"g_01","of":3,"cid":"k1","b":{},"mentions":["bob"]}"#,
        ),
        (
            ClientCommand::Del(command::DeleteMessage {
                conversation: c.clone(),
                target_seq: 3,
                client_message_id: cid("k1"),
            }),
            r#"{"t":"del","id":7,"c":"g_01","of":3,"cid":"k1"}"#,
        ),
        (
            ClientCommand::React(command::SetReaction {
                conversation: c.clone(),
                target_seq: 3,
                client_message_id: cid("k1"),
                reaction: "👍".into(),
                active: true,
                member: None,
            }),
            r#"{"t":"react","id":7,"c":"g_01","of":3,"cid":"k1","k":"👍","on":true}"#,
        ),
        (
            ClientCommand::React(command::SetReaction {
                conversation: c.clone(),
                target_seq: 3,
                client_message_id: cid("k1"),
                reaction: "👍".into(),
                active: false,
                member: Some(user("bob")),
            }),
            r#"{"t":"react","id":7,"c":"g_01","of":3,"cid":"k1","k":"👍","on":false,"who":"bob"}"#,
        ),
        (
            ClientCommand::Ban(act()),
            r#"{"t":"ban","id":7,"c":"g_01","cid":"k1","who":"bob"}"#,
        ),
        (
            ClientCommand::Unban(act()),
            r#"{"t":"unban","id":7,"c":"g_01","cid":"k1","who":"bob"}"#,
        ),
        (
            ClientCommand::Role(command::SetRole {
                conversation: c.clone(),
                client_message_id: cid("k1"),
                member: user("bob"),
                role: Role::Admin,
            }),
            r#"{"t":"role","id":7,"c":"g_01","cid":"k1","who":"bob","role":"admin"}"#,
        ),
        (
            ClientCommand::Join(command::JoinConversation {
                conversation: c.clone(),
                client_message_id: cid("k1"),
            }),
            r#"{"t":"join","id":7,"c":"g_01","cid":"k1"}"#,
        ),
        (
            ClientCommand::Set(command::UpdateConversation {
                conversation: c.clone(),
                client_message_id: cid("k1"),
                title: Some("Team".into()),
                history: Some(HistoryVisibility::All),
                muted: None,
                pinned: None,
            }),
            r#"{"t":"set","id":7,"c":"g_01","cid":"k1","title":"Team","history":"all"}"#,
        ),
        (
            ClientCommand::Set(command::UpdateConversation {
                conversation: c.clone(),
                client_message_id: cid("k1"),
                title: None,
                history: None,
                muted: Some(true),
                pinned: Some(false),
            }),
            r#"{"t":"set","id":7,"c":"g_01","cid":"k1","muted":true,"pinned":false}"#,
        ),
        (
            ClientCommand::Members(command::ListMembers {
                conversation: c.clone(),
                cursor: Some("x".into()),
                limit: Some(20),
            }),
            r#"{"t":"members","id":7,"c":"g_01","cursor":"x","limit":20}"#,
        ),
        (
            ClientCommand::Typing(command::SetTyping {
                conversation: c.clone(),
                active: true,
            }),
            r#"{"t":"typing","id":7,"c":"g_01","on":true}"#,
        ),
        (
            ClientCommand::Watch(command::WatchUsers {
                users: vec![user("bob"), user("eve")],
            }),
            r#"{"t":"watch","id":7,"users":["bob","eve"]}"#,
        ),
        (
            ClientCommand::Unwatch(command::WatchUsers {
                users: vec![user("bob")],
            }),
            r#"{"t":"unwatch","id":7,"users":["bob"]}"#,
        ),
        (
            ClientCommand::Block(command::BlockUser { user: user("bob") }),
            r#"{"t":"block","id":7,"who":"bob"}"#,
        ),
        (
            ClientCommand::Unblock(command::BlockUser { user: user("bob") }),
            r#"{"t":"unblock","id":7,"who":"bob"}"#,
        ),
        (
            ClientCommand::Invite(act()),
            r#"{"t":"invite","id":7,"c":"g_01","cid":"k1","who":"bob"}"#,
        ),
        (
            ClientCommand::Kick(act()),
            r#"{"t":"kick","id":7,"c":"g_01","cid":"k1","who":"bob"}"#,
        ),
        (
            ClientCommand::Leave(command::LeaveConversation {
                conversation: c.clone(),
                client_message_id: cid("k1"),
            }),
            r#"{"t":"leave","id":7,"c":"g_01","cid":"k1"}"#,
        ),
        (
            ClientCommand::Read(command::MoveCursor {
                conversation: c.clone(),
                seq: 9,
            }),
            r#"{"t":"read","id":7,"c":"g_01","s":9}"#,
        ),
        (
            ClientCommand::Recv(command::MoveCursor {
                conversation: c.clone(),
                seq: 9,
            }),
            r#"{"t":"recv","id":7,"c":"g_01","s":9}"#,
        ),
        (
            ClientCommand::Open(command::OpenConversation {
                conversation: c.clone(),
                have: None,
            }),
            r#"{"t":"open","id":7,"c":"g_01"}"#,
        ),
        (
            ClientCommand::Open(command::OpenConversation {
                conversation: c.clone(),
                have: Some(4),
            }),
            r#"{"t":"open","id":7,"c":"g_01","have":4}"#,
        ),
        (
            ClientCommand::List(command::ListConversations {
                cursor: None,
                limit: None,
            }),
            r#"{"t":"list","id":7}"#,
        ),
        (
            ClientCommand::List(command::ListConversations {
                cursor: Some("x".into()),
                limit: Some(20),
            }),
            r#"{"t":"list","id":7,"cursor":"x","limit":20}"#,
        ),
        (
            ClientCommand::Hist(command::GetHistory {
                conversation: c.clone(),
                before: Some(50),
                after: None,
                limit: Some(20),
            }),
            r#"{"t":"hist","id":7,"c":"g_01","before":50,"limit":20}"#,
        ),
        (
            ClientCommand::Sync(command::SyncRequest {
                have: vec![(c.clone(), 4), (conv("d_x"), 0)],
                cursor: None,
            }),
            r#"{"t":"sync","id":7,"have":[["g_01",4],["d_x",0]]}"#,
        ),
        (
            ClientCommand::Hb(command::Heartbeat {
                session_seq: Some(412),
            }),
            r#"{"t":"hb","id":7,"n":412}"#,
        ),
        (
            ClientCommand::Me(command::UpdateProfile::default()),
            r#"{"t":"me","id":7}"#,
        ),
        (
            ClientCommand::Me(command::UpdateProfile {
                group_invite: Some(GroupInvite::SharesConversation),
            }),
            r#"{"t":"me","id":7,"group_invite":"shares_conversation"}"#,
        ),
        (
            ClientCommand::Hb(command::Heartbeat { session_seq: None }),
            r#"{"t":"hb","id":7}"#,
        ),
    ];
    for (command, text) in table {
        let request = Request { id: Some(7), command };
        assert_eq!(request.encode(), text);
        assert_eq!(Request::decode(text).unwrap(), Some(request), "{text}");
    }
}

fn msg() -> event::MessageEvent {
    event::MessageEvent {
        conversation: conv("g_01"),
        seq: 7,
        message_number: 5,
        timestamp_ms: 1_767_225_600_123,
        user: user("alice"),
        client_message_id: cid("k\"1"),
        body: body(r#"{"text":"hi"}"#),
        reply_to: None,
        mentions: vec![],
        deleted: false,
    }
}

const MSG_TAIL: &str =
    r#""t":"msg","c":"g_01","s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{"text":"hi"}}"#;

fn conv_shape() -> ConversationSnapshot {
    ConversationSnapshot {
        conversation: conv("d_x"),
        kind: ConversationKind::Direct,
        title: None,
        role: Some(Role::Member),
        last: LastEvent {
            seq: 7,
            message_number: 5,
            timestamp_ms: 9,
        },
        read: 6,
        delivered: 7,
        muted: false,
        pinned: false,
        history: None,
        members: None,
        peer: Some(DirectPeer {
            user: user("bob"),
            delivered: 7,
            read: 2,
        }),
        events: Some(vec![EncodedEvent::from_tail(MSG_TAIL.as_bytes()).unwrap()]),
        gap: true,
    }
}

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
    };
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
            }),
            r#""t":"meta","c":"g_01","s":9,"ts":10,"u":"alice","title":"Team","history":"joined"}"#.into(),
        ),
        (
            Event::Typing(event::TypingEvent { conversation: conv("g_01"), user: user("bob"), active: true }),
            r#""t":"typing","c":"g_01","u":"bob","on":true}"#.into(),
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
            r#""t":"conv","c":"d_x","kind":"direct","title":null,"role":"member","last":{"s":7,"mn":5,"ts":9},"read":6,"delivered":7,"muted":false,"pinned":false,"peer":{"u":"bob","delivered":7,"read":2},"events":[{"#.to_owned()
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
fn every_answer_has_its_frozen_text() {
    let c = conv("g_01");
    let event = || EncodedEvent::from_tail(MSG_TAIL.as_bytes()).unwrap();
    let ready = answer::ReadyResponse {
        user: user("u42"),
        session_id: "s1".into(),
        resumed: true,
        session_seq: 412,
        reason: None,
        resume_ttl_ms: 90_000,
        limits: answer::SessionLimits {
            body_bytes: 16_384,
            sends_per_second: 20,
            burst: 60,
            ephemeral_per_second: 2,
        },
    };
    let item = answer::ConversationListItem {
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
    let ack = answer::Ack {
        conversation: c.clone(),
        client_message_id: cid("k1"),
        seq: Some(7),
        message_number: Some(5),
        timestamp_ms: Some(9),
        duplicate: false,
    };
    let msg = format!("{{{MSG_TAIL}");
    let table = [
        (
            None,
            Response::Hello(answer::HelloResponse {
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
            Response::Ready(answer::ReadyResponse { resumed: false, session_seq: 0, reason: Some(answer::NotResumed::Gap), ..ready }),
            r#"{"t":"ready","user":"u42","sid":"s1","resumed":false,"n":0,"why":"gap","resume_ttl_ms":90000,"limits":{"body_bytes":16384,"sends_per_s":20,"burst":60,"ephemeral_per_s":2}}"#.into(),
        ),
        (
            Some(-1),
            Response::Ack(ack.clone()),
            r#"{"t":"ack","id":-1,"c":"g_01","cid":"k1","s":7,"mn":5,"ts":9}"#.into(),
        ),
        (
            None,
            Response::Ack(answer::Ack { message_number: None, duplicate: true, ..ack }),
            r#"{"t":"ack","c":"g_01","cid":"k1","s":7,"ts":9,"dup":true}"#.into(),
        ),
        (Some(7), Response::Ok(answer::OkResponse {}), r#"{"t":"ok","id":7}"#.into()),
        (
            Some(7),
            Response::Conv(ConversationSnapshot { peer: None, events: None, gap: false, title: Some("T".into()), ..conv_shape() }),
            r#"{"t":"conv","id":7,"c":"d_x","kind":"direct","title":"T","role":"member","last":{"s":7,"mn":5,"ts":9},"read":6,"delivered":7,"muted":false,"pinned":false}"#.into(),
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
            r#"{"t":"conv","id":7,"c":"d_x","kind":"direct","title":null,"role":"member","last":{"s":7,"mn":5,"ts":9},"read":6,"delivered":7,"muted":false,"pinned":false,"history":"all","members":3}"#.into(),
        ),
        (
            Some(7),
            Response::Members(answer::MembersResponse {
                items: vec![
                    answer::ConversationMember { user: user("bob"), role: Role::Reader, delivered: Some(7), read: Some(6) },
                    answer::ConversationMember { user: user("cy"), role: Role::Owner, delivered: None, read: None },
                ],
                next: Some("x".into()),
            }),
            r#"{"t":"members","id":7,"items":[{"u":"bob","role":"reader","delivered":7,"read":6},{"u":"cy","role":"owner"}],"next":"x"}"#.into(),
        ),
        (
            Some(7),
            Response::Inbox(answer::ConversationList { items: vec![item], next: Some("x".into()) }),
            r#"{"t":"inbox","id":7,"items":[{"c":"d_x","kind":"direct","title":null,"role":"member","last":"#.to_owned()
                + &msg
                + r#","unread":2,"mentions":1,"read":4,"delivered":7,"muted":false,"pinned":false,"peer":{"u":"bob","delivered":7,"read":7}}],"next":"x"}"#,
        ),
        (
            Some(7),
            Response::Hist(answer::HistoryResponse { conversation: c.clone(), events: vec![event()], more: true, gap: false }),
            format!(r#"{{"t":"hist","id":7,"c":"g_01","events":[{msg}],"more":true}}"#),
        ),
        (
            Some(7),
            Response::Hist(answer::HistoryResponse { conversation: c.clone(), events: vec![], more: false, gap: true }),
            r#"{"t":"hist","id":7,"c":"g_01","events":[],"more":false,"gap":true}"#.into(),
        ),
        (
            Some(7),
            Response::Delta(answer::SyncResponse {
                as_of: vec![(c.clone(), 7)],
                items: vec![answer::SyncResponseItem { conversation: c, events: vec![event()], gap: false }],
                next: None,
            }),
            format!(
                r#"{{"t":"delta","id":7,"as_of":[["g_01",7]],"items":[{{"c":"g_01","events":[{msg}],"gap":false}}],"next":null}}"#
            ),
        ),
        (
            Some(7),
            Response::Me(answer::MeResponse { user: user("alice"), group_invite: GroupInvite::NoOne }),
            r#"{"t":"me","id":7,"u":"alice","group_invite":"nobody"}"#.into(),
        ),
        (Some(7), Response::Hb(answer::HeartbeatResponse { timestamp_ms: 5 }), r#"{"t":"hb","id":7,"time":5}"#.into()),
        (
            Some(7),
            Response::Err(answer::ErrorResponse::new(ErrorCode::NotMember, "no", Some(5))),
            r#"{"t":"err","id":7,"code":"not_member","http":403,"temp":false,"msg":"no"}"#.into(),
        ),
        (
            None,
            Response::Err(answer::ErrorResponse::new(ErrorCode::Busy, "later", None)),
            r#"{"t":"err","code":"busy","http":503,"temp":true,"msg":"later","retry_ms":1000}"#.into(),
        ),
    ];
    for (id, answer, text) in table {
        assert_eq!(answer.encode(id), text);
        assert_eq!(
            ServerFrame::decode(&text),
            Ok(ServerFrame::Answer { id, answer }),
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
        Ok(ServerFrame::Answer {
            answer: Response::Hb(_),
            ..
        })
    ));
}
