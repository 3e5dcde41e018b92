//! Strategies of the responses.

use proptest::prelude::*;
use protocol::response::{
    Ack, ConversationList, ConversationListItem, ConversationMember, DirectPeer, ErrorResponse,
    HeartbeatResponse, HelloResponse, HistoryResponse, MeResponse, MembersResponse, NotResumed, OkResponse,
    ReadyResponse, SessionLimits, SyncResponse, SyncResponseItem, UserCard, UserCards, UserProfile,
    UsersResponse,
};
use protocol::{ErrorCode, Response};

use crate::events::{conv_shape, msg, raw};
use crate::values::{cid, conv, data, group_invite, kind, opt, role, user, words};

/// Returns one strategy for each response.
pub(crate) fn strategies() -> Vec<BoxedStrategy<Response>> {
    let err = (
        proptest::sample::select(ErrorCode::ALL.to_vec()),
        words(),
        opt(any::<u64>()),
    )
        .prop_map(|(code, message, retry_ms)| ErrorResponse::new(code, message, retry_ms));
    vec![
        hello().prop_map(Response::Hello).boxed(),
        ready().prop_map(Response::Ready).boxed(),
        ack().prop_map(Response::Ack).boxed(),
        Just(Response::Ok(OkResponse {})).boxed(),
        conv_shape().prop_map(Response::Conv).boxed(),
        inbox().prop_map(Response::Inbox).boxed(),
        hist().prop_map(Response::Hist).boxed(),
        members().prop_map(Response::Members).boxed(),
        delta().prop_map(Response::Delta).boxed(),
        (group_invite(), profile())
            .prop_map(|(group_invite, profile)| MeResponse {
                user: profile.user,
                group_invite,
                name: profile.name,
                avatar: profile.avatar,
                data: profile.data,
                version: Some(profile.version),
            })
            .prop_map(Response::Me)
            .boxed(),
        proptest::collection::vec(profile(), 0..3)
            .prop_map(|items| Response::Users(UsersResponse { items }))
            .boxed(),
        any::<u64>()
            .prop_map(|timestamp_ms| Response::Hb(HeartbeatResponse { timestamp_ms }))
            .boxed(),
        err.prop_map(Response::Err).boxed(),
    ]
}

fn profile() -> impl Strategy<Value = UserProfile> {
    (user(), opt(words()), opt(words()), opt(data()), any::<u64>()).prop_map(
        |(user, name, avatar, data, version)| UserProfile {
            user,
            name,
            avatar,
            data,
            version,
        },
    )
}

fn cards() -> impl Strategy<Value = UserCards> {
    proptest::collection::vec(profile(), 0..3).prop_map(|profiles| {
        let card = |profile: UserProfile| UserCard {
            name: profile.name,
            avatar: profile.avatar,
            version: profile.version,
        };
        let cards = profiles
            .into_iter()
            .map(|profile| (profile.user.clone(), card(profile)));
        cards.collect()
    })
}

fn hello() -> impl Strategy<Value = HelloResponse> {
    (any::<u32>(), words(), any::<[u64; 4]>()).prop_map(|(protocol_version, server, n)| HelloResponse {
        protocol_version,
        server,
        heartbeat_interval_ms: n[0],
        auth_timeout_ms: n[1],
        max_frame_bytes: n[2],
        timestamp_ms: n[3],
    })
}

fn ready() -> impl Strategy<Value = ReadyResponse> {
    let reason = proptest::sample::select(vec![NotResumed::Expired, NotResumed::Unknown, NotResumed::Gap]);
    let limits = any::<(u64, [u32; 3])>().prop_map(|(body_bytes, n)| SessionLimits {
        body_bytes,
        sends_per_second: n[0],
        burst: n[1],
        ephemeral_per_second: n[2],
    });
    (user(), words(), any::<(bool, u64, u64)>(), opt(reason), limits).prop_map(
        |(user, session_id, (resumed, session_seq, resume_ttl_ms), reason, limits)| ReadyResponse {
            user,
            session_id,
            resumed,
            session_seq,
            reason,
            resume_ttl_ms,
            limits,
        },
    )
}

fn ack() -> impl Strategy<Value = Ack> {
    (conv(), cid(), any::<[Option<u64>; 3]>(), any::<bool>()).prop_map(
        |(conversation, client_message_id, n, duplicate)| Ack {
            conversation,
            client_message_id,
            seq: n[0],
            message_number: n[1],
            timestamp_ms: n[2],
            duplicate,
        },
    )
}

fn inbox() -> impl Strategy<Value = ConversationList> {
    let head = (conv(), kind(), opt(words()), opt(role()), opt(msg()));
    let item = (head, any::<[u64; 4]>(), any::<[bool; 3]>(), opt(user())).prop_map(
        |((conversation, kind, title, role, last), n, flags, peer)| ConversationListItem {
            conversation,
            kind,
            title,
            role,
            last: last.as_ref().map(raw),
            unread: n[0],
            mentions: n[1],
            read: n[2],
            delivered: n[3],
            muted: flags[0],
            pinned: flags[1],
            peer: peer.map(|user| DirectPeer {
                user,
                delivered: n[3],
                read: n[2],
            }),
            stale: flags[2],
        },
    );
    (proptest::collection::vec(item, 0..3), opt(words()), cards())
        .prop_map(|(items, next, users)| ConversationList { items, next, users })
}

fn hist() -> impl Strategy<Value = HistoryResponse> {
    (
        conv(),
        proptest::collection::vec(msg(), 0..3),
        any::<(bool, bool)>(),
    )
        .prop_map(|(conversation, events, (more, gap))| HistoryResponse {
            conversation,
            events: events.iter().map(raw).collect(),
            more,
            gap,
        })
}

fn members() -> impl Strategy<Value = MembersResponse> {
    let member = (user(), role(), opt(any::<u64>()), opt(any::<u64>()), opt(data())).prop_map(
        |(user, role, delivered, read, data)| ConversationMember {
            user,
            role,
            delivered,
            read,
            data,
        },
    );
    (proptest::collection::vec(member, 0..3), opt(words()), cards())
        .prop_map(|(items, next, users)| MembersResponse { items, next, users })
}

fn delta() -> impl Strategy<Value = SyncResponse> {
    let item = (conv(), msg(), any::<bool>());
    (proptest::collection::vec(item, 0..3), opt(words())).prop_map(|(items, next)| SyncResponse {
        as_of: items
            .iter()
            .map(|(conversation, msg, _)| (conversation.clone(), msg.seq))
            .collect(),
        items: items
            .into_iter()
            .map(|(conversation, msg, gap)| SyncResponseItem {
                conversation,
                events: vec![raw(&msg)],
                gap,
            })
            .collect(),
        next,
    })
}
