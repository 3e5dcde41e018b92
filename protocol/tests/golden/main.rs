//! One frozen text per shape. A difference here is a change of the protocol: clients in the field depend on it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use protocol::event::MessageEvent;
use protocol::response::{ConversationSnapshot, DirectPeer, LastEvent};
use protocol::schema::Shape;
use protocol::{Body, ClientMessageId, ConversationId, ConversationKind, EncodedEvent, Role, UserId};

mod commands;
mod events;
mod examples;
mod responses;

const MSG_TAIL: &str =
    r#""t":"msg","c":"g_01","s":7,"mn":5,"ts":1767225600123,"u":"alice","cid":"k\"1","b":{"text":"hi"}}"#;

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

fn msg() -> MessageEvent {
    MessageEvent {
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
        unread: 2,
        mentions: 1,
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
        data: None,
        users: BTreeMap::new(),
    }
}

/// Panics unless the rows have every declared shape.
fn assert_complete<'a>(shapes: &[Shape], tags: impl Iterator<Item = &'a str>) {
    let tags: BTreeSet<_> = tags.collect();
    for shape in shapes {
        assert!(tags.contains(shape.tag), "{} has no row", shape.tag);
    }
}
