//! One frozen text per shape. A difference here is a change of the protocol: clients in the field depend on it.

#![expect(clippy::unwrap_used, reason = "tests")]

use protocol::answer::{self, Answer, Conv, Last, Peer};
use protocol::command::{self, Command, Request};
use protocol::event::{self, Event, PresenceState, event_frame};
use protocol::{
    Body, Cid, CloseCode, ConvId, ErrorCode, Frame, GroupInvite, History, Kind, Message, RawEvent, Role,
    UserId, Why,
};

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn conv(text: &str) -> ConvId {
    ConvId::parse(text).unwrap()
}

fn cid(text: &str) -> Cid {
    Cid::parse(text).unwrap()
}

fn body(text: &str) -> Body {
    Body::new(text).unwrap()
}

fn send() -> command::Send {
    command::Send {
        c: Some(conv("g_01")),
        to: None,
        cid: cid("k1"),
        b: body(r#"{"text":"hi"}"#),
        reply_to: None,
        mentions: vec![],
        echo: true,
    }
}

#[test]
fn every_command_has_its_frozen_text() {
    let c = conv("g_01");
    let act = || command::ActOn {
        c: conv("g_01"),
        cid: cid("k1"),
        who: user("bob"),
    };
    let table = [
        (
            Command::Auth(command::Auth {
                token: "dev:alice".into(),
                device: Some("phone-1".into()),
                instance: Some("x7".into()),
                resume: Some(command::Resume {
                    sid: "s1".into(),
                    n: 412,
                }),
            }),
            r#"{"t":"auth","id":7,"token":"dev:alice","device":"phone-1","instance":"x7","resume":{"sid":"s1","n":412}}"#,
        ),
        (
            Command::Auth(command::Auth {
                token: "t".into(),
                device: None,
                instance: None,
                resume: None,
            }),
            r#"{"t":"auth","id":7,"token":"t"}"#,
        ),
        (
            Command::Send(send()),
            r#"{"t":"send","id":7,"c":"g_01","cid":"k1","b":{"text":"hi"}}"#,
        ),
        (
            Command::Send(command::Send {
                c: None,
                to: Some(user("bob")),
                reply_to: Some(3),
                mentions: vec![user("bob"), user("eve")],
                echo: false,
                ..send()
            }),
            r#"{"t":"send","id":7,"to":"bob","cid":"k1","b":{"text":"hi"},"reply_to":3,"mentions":["bob","eve"],"echo":false}"#,
        ),
        (
            Command::Create(command::Create {
                kind: Kind::Group,
                cid: cid("k1"),
                members: vec![user("bob")],
                title: Some("Team".into()),
            }),
            r#"{"t":"create","id":7,"kind":"group","cid":"k1","members":["bob"],"title":"Team"}"#,
        ),
        (
            Command::Edit(command::Edit {
                c: c.clone(),
                of: 3,
                cid: cid("k1"),
                b: body(r#"{"text":"ho"}"#),
                mentions: None,
            }),
            r#"{"t":"edit","id":7,"c":"g_01","of":3,"cid":"k1","b":{"text":"ho"}}"#,
        ),
        (
            Command::Edit(command::Edit {
                c: c.clone(),
                of: 3,
                cid: cid("k1"),
                b: body("{}"),
                mentions: Some(vec![user("bob")]),
            }),
            r#"{"t":"edit","id":7,"c":"g_01","of":3,"cid":"k1","b":{},"mentions":["bob"]}"#,
        ),
        (
            Command::Del(command::Del {
                c: c.clone(),
                of: 3,
                cid: cid("k1"),
            }),
            r#"{"t":"del","id":7,"c":"g_01","of":3,"cid":"k1"}"#,
        ),
        (
            Command::React(command::React {
                c: c.clone(),
                of: 3,
                cid: cid("k1"),
                k: "👍".into(),
                on: true,
                who: None,
            }),
            r#"{"t":"react","id":7,"c":"g_01","of":3,"cid":"k1","k":"👍","on":true}"#,
        ),
        (
            Command::React(command::React {
                c: c.clone(),
                of: 3,
                cid: cid("k1"),
                k: "👍".into(),
                on: false,
                who: Some(user("bob")),
            }),
            r#"{"t":"react","id":7,"c":"g_01","of":3,"cid":"k1","k":"👍","on":false,"who":"bob"}"#,
        ),
        (
            Command::Ban(act()),
            r#"{"t":"ban","id":7,"c":"g_01","cid":"k1","who":"bob"}"#,
        ),
        (
            Command::Unban(act()),
            r#"{"t":"unban","id":7,"c":"g_01","cid":"k1","who":"bob"}"#,
        ),
        (
            Command::Role(command::SetRole {
                c: c.clone(),
                cid: cid("k1"),
                who: user("bob"),
                role: Role::Admin,
            }),
            r#"{"t":"role","id":7,"c":"g_01","cid":"k1","who":"bob","role":"admin"}"#,
        ),
        (
            Command::Join(command::Join {
                c: c.clone(),
                cid: cid("k1"),
            }),
            r#"{"t":"join","id":7,"c":"g_01","cid":"k1"}"#,
        ),
        (
            Command::Set(command::Set {
                c: c.clone(),
                cid: cid("k1"),
                title: Some("Team".into()),
                history: Some(History::All),
                muted: None,
                pinned: None,
            }),
            r#"{"t":"set","id":7,"c":"g_01","cid":"k1","title":"Team","history":"all"}"#,
        ),
        (
            Command::Set(command::Set {
                c: c.clone(),
                cid: cid("k1"),
                title: None,
                history: None,
                muted: Some(true),
                pinned: Some(false),
            }),
            r#"{"t":"set","id":7,"c":"g_01","cid":"k1","muted":true,"pinned":false}"#,
        ),
        (
            Command::Members(command::Members {
                c: c.clone(),
                cursor: Some("x".into()),
                limit: Some(20),
            }),
            r#"{"t":"members","id":7,"c":"g_01","cursor":"x","limit":20}"#,
        ),
        (
            Command::Typing(command::Typing {
                c: c.clone(),
                on: true,
            }),
            r#"{"t":"typing","id":7,"c":"g_01","on":true}"#,
        ),
        (
            Command::Watch(command::Users {
                users: vec![user("bob"), user("eve")],
            }),
            r#"{"t":"watch","id":7,"users":["bob","eve"]}"#,
        ),
        (
            Command::Unwatch(command::Users {
                users: vec![user("bob")],
            }),
            r#"{"t":"unwatch","id":7,"users":["bob"]}"#,
        ),
        (
            Command::Block(command::Block { who: user("bob") }),
            r#"{"t":"block","id":7,"who":"bob"}"#,
        ),
        (
            Command::Unblock(command::Block { who: user("bob") }),
            r#"{"t":"unblock","id":7,"who":"bob"}"#,
        ),
        (
            Command::Invite(act()),
            r#"{"t":"invite","id":7,"c":"g_01","cid":"k1","who":"bob"}"#,
        ),
        (
            Command::Kick(act()),
            r#"{"t":"kick","id":7,"c":"g_01","cid":"k1","who":"bob"}"#,
        ),
        (
            Command::Leave(command::Leave {
                c: c.clone(),
                cid: cid("k1"),
            }),
            r#"{"t":"leave","id":7,"c":"g_01","cid":"k1"}"#,
        ),
        (
            Command::Read(command::Cursor { c: c.clone(), s: 9 }),
            r#"{"t":"read","id":7,"c":"g_01","s":9}"#,
        ),
        (
            Command::Recv(command::Cursor { c: c.clone(), s: 9 }),
            r#"{"t":"recv","id":7,"c":"g_01","s":9}"#,
        ),
        (
            Command::Open(command::Open {
                c: c.clone(),
                have: None,
            }),
            r#"{"t":"open","id":7,"c":"g_01"}"#,
        ),
        (
            Command::Open(command::Open {
                c: c.clone(),
                have: Some(4),
            }),
            r#"{"t":"open","id":7,"c":"g_01","have":4}"#,
        ),
        (
            Command::List(command::List {
                cursor: None,
                limit: None,
            }),
            r#"{"t":"list","id":7}"#,
        ),
        (
            Command::List(command::List {
                cursor: Some("x".into()),
                limit: Some(20),
            }),
            r#"{"t":"list","id":7,"cursor":"x","limit":20}"#,
        ),
        (
            Command::Hist(command::Hist {
                c: c.clone(),
                before: Some(50),
                after: None,
                limit: Some(20),
            }),
            r#"{"t":"hist","id":7,"c":"g_01","before":50,"limit":20}"#,
        ),
        (
            Command::Sync(command::Sync {
                have: vec![(c.clone(), 4), (conv("d_x"), 0)],
                cursor: None,
            }),
            r#"{"t":"sync","id":7,"have":[["g_01",4],["d_x",0]]}"#,
        ),
        (
            Command::Hb(command::Hb { n: Some(412) }),
            r#"{"t":"hb","id":7,"n":412}"#,
        ),
        (Command::Me(command::Me::default()), r#"{"t":"me","id":7}"#),
        (
            Command::Me(command::Me {
                group_invite: Some(GroupInvite::SharesConversation),
            }),
            r#"{"t":"me","id":7,"group_invite":"shares_conversation"}"#,
        ),
        (Command::Hb(command::Hb { n: None }), r#"{"t":"hb","id":7}"#),
    ];
    for (command, text) in table {
        let request = Request { id: Some(7), command };
        assert_eq!(request.encode(), text);
        assert_eq!(Request::decode(text).unwrap(), Some(request), "{text}");
    }
}

fn msg() -> event::Msg {
    event::Msg {
        c: conv("g_01"),
        s: 7,
        mn: 5,
        ts: 1_767_225_600_123,
        u: user("alice"),
        cid: cid("k\"1"),
        b: body(r#"{"text":"hi"}"#),
        reply_to: None,
        mentions: vec![],
        deleted: false,
    }
}

const MSG_TAIL: &str =
    r#""t":"msg","c":"g_01","s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{"text":"hi"}}"#;

fn conv_shape() -> Conv {
    Conv {
        c: conv("d_x"),
        kind: Kind::Direct,
        title: None,
        role: Some(Role::Member),
        last: Last { s: 7, mn: 5, ts: 9 },
        read: 6,
        delivered: 7,
        muted: false,
        pinned: false,
        history: None,
        members: None,
        peer: Some(Peer {
            u: user("bob"),
            delivered: 7,
            read: 2,
        }),
        events: Some(vec![RawEvent::from_tail(MSG_TAIL.as_bytes()).unwrap()]),
        gap: true,
    }
}

#[test]
fn every_event_has_its_frozen_tail() {
    let member = event::Member {
        c: conv("g_01"),
        s: 8,
        ts: 9,
        u: user("alice"),
        who: user("bob"),
        role: Some(Role::Reader),
        why: Why::Invite,
    };
    let edit = event::Edit {
        c: conv("g_01"),
        s: 9,
        of: 7,
        u: user("alice"),
        ts: 10,
        b: body(r#"{"text":"ho"}"#),
        mentions: None,
        deleted: false,
    };
    let table = [
        (Event::Msg(msg()), MSG_TAIL.to_owned()),
        (
            Event::Msg(event::Msg { reply_to: Some(3), mentions: vec![user("bob"), user("eve")], ..msg() }),
            MSG_TAIL.trim_end_matches('}').to_owned() + r#"},"reply_to":3,"mentions":["bob","eve"]}"#,
        ),
        (
            Event::Msg(event::Msg { b: body("{}"), reply_to: Some(3), deleted: true, ..msg() }),
            r#""t":"msg","c":"g_01","s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{},"reply_to":3,"deleted":true}"#.into(),
        ),
        (
            Event::Edit(edit.clone()),
            r#""t":"edit","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"b":{"text":"ho"}}"#.into(),
        ),
        (
            Event::Edit(event::Edit { mentions: Some(vec![]), ..edit.clone() }),
            r#""t":"edit","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"b":{"text":"ho"},"mentions":[]}"#.into(),
        ),
        (
            Event::Edit(event::Edit { b: body("{}"), deleted: true, ..edit }),
            r#""t":"edit","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"b":{},"deleted":true}"#.into(),
        ),
        (
            Event::Del(event::Del { c: conv("g_01"), s: 9, of: 7, u: user("alice"), ts: 10 }),
            r#""t":"del","c":"g_01","s":9,"of":7,"u":"alice","ts":10}"#.into(),
        ),
        (
            Event::React(event::React {
                c: conv("g_01"),
                s: 9,
                of: 7,
                u: user("alice"),
                ts: 10,
                k: "👍".into(),
                on: false,
                by: None,
            }),
            r#""t":"react","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"k":"👍","on":false}"#.into(),
        ),
        (
            Event::React(event::React {
                c: conv("g_01"),
                s: 9,
                of: 7,
                u: user("alice"),
                ts: 10,
                k: "👍".into(),
                on: false,
                by: Some(user("bob")),
            }),
            r#""t":"react","c":"g_01","s":9,"of":7,"u":"alice","ts":10,"k":"👍","on":false,"by":"bob"}"#.into(),
        ),
        (
            Event::Meta(event::Meta {
                c: conv("g_01"),
                s: 9,
                ts: 10,
                u: user("alice"),
                title: Some("Team".into()),
                history: Some(History::Joined),
            }),
            r#""t":"meta","c":"g_01","s":9,"ts":10,"u":"alice","title":"Team","history":"joined"}"#.into(),
        ),
        (
            Event::Typing(event::Typing { c: conv("g_01"), u: user("bob"), on: true }),
            r#""t":"typing","c":"g_01","u":"bob","on":true}"#.into(),
        ),
        (
            Event::Presence(event::Presence { u: user("bob"), state: PresenceState::Online, seen: Some(9) }),
            r#""t":"presence","u":"bob","state":"online","seen":9}"#.into(),
        ),
        (
            Event::Presence(event::Presence { u: user("eve"), state: PresenceState::Offline, seen: None }),
            r#""t":"presence","u":"eve","state":"offline","seen":null}"#.into(),
        ),
        (
            Event::Member(member.clone()),
            r#""t":"member","c":"g_01","s":8,"ts":9,"u":"alice","who":"bob","role":"reader","why":"invite"}"#.into(),
        ),
        (
            Event::Member(event::Member { role: None, why: Why::Kick, ..member }),
            r#""t":"member","c":"g_01","s":8,"ts":9,"u":"alice","who":"bob","role":null,"why":"kick"}"#.into(),
        ),
        (
            Event::Conv(conv_shape()),
            r#""t":"conv","c":"d_x","kind":"direct","title":null,"role":"member","last":{"s":7,"mn":5,"ts":9},"read":6,"delivered":7,"muted":false,"pinned":false,"peer":{"u":"bob","delivered":7,"read":2},"events":[{"#.to_owned()
                + MSG_TAIL
                + r#"],"gap":true}"#,
        ),
        (
            Event::Receipt(event::Receipt { c: conv("g_01"), u: user("bob"), delivered: 7, read: 6 }),
            r#""t":"receipt","c":"g_01","u":"bob","delivered":7,"read":6}"#.into(),
        ),
        (
            Event::Activity(event::Activity { c: conv("g_01"), last: Last { s: 7, mn: 5, ts: 9 } }),
            r#""t":"activity","c":"g_01","last":{"s":7,"mn":5,"ts":9}}"#.into(),
        ),
        (Event::Resync(event::Resync { why: "slow".into() }), r#""t":"resync","why":"slow"}"#.into()),
        (
            Event::Bye(event::Bye::new(CloseCode::Draining, 1830)),
            r#""t":"bye","code":4012,"retry_ms":1830}"#.into(),
        ),
    ];
    for (event, tail) in table {
        assert_eq!(event.tail(), tail);
        let frame = event_frame(413, &tail);
        assert_eq!(frame, format!("{{\"n\":413,{tail}"));
        assert_eq!(
            Frame::decode(&frame),
            Ok(Frame::Event { n: 413, event }),
            "{frame}"
        );
    }
}

#[test]
fn every_answer_has_its_frozen_text() {
    let c = conv("g_01");
    let event = || RawEvent::from_tail(MSG_TAIL.as_bytes()).unwrap();
    let ready = answer::Ready {
        user: user("u42"),
        sid: "s1".into(),
        resumed: true,
        n: 412,
        why: None,
        resume_ttl_ms: 90_000,
        limits: answer::Limits {
            body_bytes: 16_384,
            sends_per_s: 20,
            burst: 60,
            ephemeral_per_s: 2,
        },
    };
    let item = answer::Item {
        c: conv("d_x"),
        kind: Kind::Direct,
        title: None,
        role: Some(Role::Member),
        last: Some(event()),
        unread: 2,
        mentions: 1,
        read: 4,
        delivered: 7,
        muted: false,
        pinned: false,
        peer: Some(Peer {
            u: user("bob"),
            delivered: 7,
            read: 7,
        }),
        stale: false,
    };
    let ack = answer::Ack {
        c: c.clone(),
        cid: cid("k1"),
        s: Some(7),
        mn: Some(5),
        ts: Some(9),
        dup: false,
    };
    let msg = format!("{{{MSG_TAIL}");
    let table = [
        (
            None,
            Answer::Hello(answer::Hello {
                proto: 1,
                server: "n2".into(),
                hb_ms: 30_000,
                auth_ms: 10_000,
                max_frame: 65_536,
                time: 5,
            }),
            r#"{"t":"hello","proto":1,"server":"n2","hb_ms":30000,"auth_ms":10000,"max_frame":65536,"time":5}"#.into(),
        ),
        (
            Some(1),
            Answer::Ready(ready.clone()),
            r#"{"t":"ready","id":1,"user":"u42","sid":"s1","resumed":true,"n":412,"resume_ttl_ms":90000,"limits":{"body_bytes":16384,"sends_per_s":20,"burst":60,"ephemeral_per_s":2}}"#.to_owned(),
        ),
        (
            None,
            Answer::Ready(answer::Ready { resumed: false, n: 0, why: Some(answer::NotResumed::Gap), ..ready }),
            r#"{"t":"ready","user":"u42","sid":"s1","resumed":false,"n":0,"why":"gap","resume_ttl_ms":90000,"limits":{"body_bytes":16384,"sends_per_s":20,"burst":60,"ephemeral_per_s":2}}"#.into(),
        ),
        (
            Some(-1),
            Answer::Ack(ack.clone()),
            r#"{"t":"ack","id":-1,"c":"g_01","cid":"k1","s":7,"mn":5,"ts":9}"#.into(),
        ),
        (
            None,
            Answer::Ack(answer::Ack { mn: None, dup: true, ..ack }),
            r#"{"t":"ack","c":"g_01","cid":"k1","s":7,"ts":9,"dup":true}"#.into(),
        ),
        (Some(7), Answer::Ok(answer::Empty {}), r#"{"t":"ok","id":7}"#.into()),
        (
            Some(7),
            Answer::Conv(Conv { peer: None, events: None, gap: false, title: Some("T".into()), ..conv_shape() }),
            r#"{"t":"conv","id":7,"c":"d_x","kind":"direct","title":"T","role":"member","last":{"s":7,"mn":5,"ts":9},"read":6,"delivered":7,"muted":false,"pinned":false}"#.into(),
        ),
        (
            Some(7),
            Answer::Conv(Conv {
                peer: None,
                events: None,
                gap: false,
                history: Some(History::All),
                members: Some(3),
                ..conv_shape()
            }),
            r#"{"t":"conv","id":7,"c":"d_x","kind":"direct","title":null,"role":"member","last":{"s":7,"mn":5,"ts":9},"read":6,"delivered":7,"muted":false,"pinned":false,"history":"all","members":3}"#.into(),
        ),
        (
            Some(7),
            Answer::Members(answer::Members {
                items: vec![
                    answer::Member { u: user("bob"), role: Role::Reader, delivered: Some(7), read: Some(6) },
                    answer::Member { u: user("cy"), role: Role::Owner, delivered: None, read: None },
                ],
                next: Some("x".into()),
            }),
            r#"{"t":"members","id":7,"items":[{"u":"bob","role":"reader","delivered":7,"read":6},{"u":"cy","role":"owner"}],"next":"x"}"#.into(),
        ),
        (
            Some(7),
            Answer::Inbox(answer::Inbox { items: vec![item], next: Some("x".into()) }),
            r#"{"t":"inbox","id":7,"items":[{"c":"d_x","kind":"direct","title":null,"role":"member","last":"#.to_owned()
                + &msg
                + r#","unread":2,"mentions":1,"read":4,"delivered":7,"muted":false,"pinned":false,"peer":{"u":"bob","delivered":7,"read":7}}],"next":"x"}"#,
        ),
        (
            Some(7),
            Answer::Hist(answer::Hist { c: c.clone(), events: vec![event()], more: true, gap: false }),
            format!(r#"{{"t":"hist","id":7,"c":"g_01","events":[{msg}],"more":true}}"#),
        ),
        (
            Some(7),
            Answer::Hist(answer::Hist { c: c.clone(), events: vec![], more: false, gap: true }),
            r#"{"t":"hist","id":7,"c":"g_01","events":[],"more":false,"gap":true}"#.into(),
        ),
        (
            Some(7),
            Answer::Delta(answer::Delta {
                as_of: vec![(c.clone(), 7)],
                items: vec![answer::DeltaItem { c, events: vec![event()], gap: false }],
                next: None,
            }),
            format!(
                r#"{{"t":"delta","id":7,"as_of":[["g_01",7]],"items":[{{"c":"g_01","events":[{msg}],"gap":false}}],"next":null}}"#
            ),
        ),
        (
            Some(7),
            Answer::Me(answer::Me { u: user("alice"), group_invite: GroupInvite::Nobody }),
            r#"{"t":"me","id":7,"u":"alice","group_invite":"nobody"}"#.into(),
        ),
        (Some(7), Answer::Hb(answer::Hb { time: 5 }), r#"{"t":"hb","id":7,"time":5}"#.into()),
        (
            Some(7),
            Answer::Err(answer::Err::new(ErrorCode::NotMember, "no", Some(5))),
            r#"{"t":"err","id":7,"code":"not_member","http":403,"temp":false,"msg":"no"}"#.into(),
        ),
        (
            None,
            Answer::Err(answer::Err::new(ErrorCode::Busy, "later", None)),
            r#"{"t":"err","code":"busy","http":503,"temp":true,"msg":"later","retry_ms":1000}"#.into(),
        ),
    ];
    for (id, answer, text) in table {
        assert_eq!(answer.encode(id), text);
        assert_eq!(Frame::decode(&text), Ok(Frame::Answer { id, answer }), "{text}");
    }
}

#[test]
fn a_message_as_it_is_now_has_its_frozen_text() {
    let message = Message::from(msg());
    let text =
        r#"{"s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{"text":"hi"},"reactions":{}}"#;
    assert_eq!(serde_json::to_string(&message).unwrap(), text);
    let message = Message {
        edited_ts: Some(9),
        reactions: [("👍".to_owned(), 2), ("+1".to_owned(), 1)].into(),
        reply_to: Some(3),
        mentions: vec![user("bob")],
        ..message
    };
    let text = r#"{"s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{"text":"hi"},"edited_ts":9,"reactions":{"+1":1,"👍":2},"reply_to":3,"mentions":["bob"]}"#;
    assert_eq!(serde_json::to_string(&message).unwrap(), text);
    assert_eq!(serde_json::from_str::<Message>(text).unwrap(), message);
    let message = Message::from(event::Msg {
        b: body("{}"),
        deleted: true,
        ..msg()
    });
    let text =
        r#"{"s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{},"reactions":{},"deleted":true}"#;
    assert_eq!(serde_json::to_string(&message).unwrap(), text);
}

#[test]
fn an_event_is_the_same_bytes_live_and_in_history() {
    let raw = RawEvent::from_tail(msg().parts().tail().as_bytes()).unwrap();
    assert_eq!(raw.tail(), MSG_TAIL);
    assert_eq!(raw.frame(1), event_frame(1, MSG_TAIL));
    assert_eq!(raw.event(), Some(Event::Msg(msg())));
}

#[test]
fn a_shape_of_a_later_version_is_ignored_and_its_number_counts() {
    assert_eq!(
        Frame::decode(r#"{"n":5,"t":"hologram","c":"g_01"}"#),
        Ok(Frame::Unknown { n: Some(5) })
    );
    let more = r#"{"t":"hb","id":7,"time":5,"moon":"full"}"#;
    assert!(matches!(
        Frame::decode(more),
        Ok(Frame::Answer {
            answer: Answer::Hb(_),
            ..
        })
    ));
}
