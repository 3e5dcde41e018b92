//! Strategies of the events.

use proptest::prelude::*;
use protocol::event::{
    ActivityEvent, CloseEvent, DeleteEvent, EditEvent, MemberEvent, MessageEvent, MetadataEvent,
    PresenceEvent, PresenceState, ProfileEvent, ReactionEvent, ReceiptEvent, ResyncEvent, TypingEvent,
};
use protocol::response::{ConversationSnapshot, DirectPeer, LastEvent, UserCards};
use protocol::{EncodedEvent, Event, HistoryVisibility, MembershipChange};

use crate::values::{body, cid, conv, data, history, kind, opt, patch, reaction, role, user, users, words};

/// Returns one strategy for each event.
pub(crate) fn strategies() -> Vec<BoxedStrategy<Event>> {
    let mut all = vec![
        msg().prop_map(Event::Msg).boxed(),
        member().prop_map(Event::Member).boxed(),
        conv_shape().prop_map(Event::Conv).boxed(),
    ];
    all.extend(changes());
    all.extend(ephemeral());
    all
}

pub(crate) fn msg() -> impl Strategy<Value = MessageEvent> {
    let head = (conv(), any::<(u64, u64, u64)>(), user(), cid());
    (head, body(), opt(any::<u64>()), users(), any::<bool>()).prop_map(
        |(
            (conversation, (seq, message_number, timestamp_ms), user, client_message_id),
            body,
            reply_to,
            mentions,
            deleted,
        )| {
            MessageEvent {
                conversation,
                seq,
                message_number,
                timestamp_ms,
                user,
                client_message_id,
                body,
                reply_to,
                mentions,
                deleted,
            }
        },
    )
}

pub(crate) fn conv_shape() -> impl Strategy<Value = ConversationSnapshot> {
    let events = opt(proptest::collection::vec(msg(), 0..3));
    let head = (conv(), kind(), opt(words()), opt(role()));
    (
        head,
        any::<[u64; 7]>(),
        opt(user()),
        events,
        any::<(bool, bool, bool)>(),
    )
        .prop_map(
            |((conversation, kind, title, role), n, peer, events, (muted, pinned, gap))| {
                ConversationSnapshot {
                    conversation,
                    kind,
                    title,
                    role,
                    last: LastEvent {
                        seq: n[0],
                        message_number: n[1],
                        timestamp_ms: n[2],
                    },
                    unread: n[5],
                    mentions: n[6],
                    read: n[3],
                    delivered: n[4],
                    muted,
                    pinned,
                    history: muted.then_some(HistoryVisibility::Joined),
                    members: pinned.then_some(n[2]),
                    peer: peer.map(|user| DirectPeer {
                        user,
                        delivered: n[4],
                        read: n[3],
                    }),
                    events: events.map(|events| events.iter().map(raw).collect()),
                    gap,
                    data: None,
                    users: UserCards::new(),
                }
            },
        )
}

pub(crate) fn raw(msg: &MessageEvent) -> EncodedEvent {
    EncodedEvent::from_tail(msg.parts().tail().as_bytes()).unwrap()
}

fn member() -> impl Strategy<Value = MemberEvent> {
    let change = proptest::sample::select(vec![
        MembershipChange::Create,
        MembershipChange::Join,
        MembershipChange::Leave,
        MembershipChange::Invite,
        MembershipChange::Kick,
        MembershipChange::Ban,
        MembershipChange::Unban,
        MembershipChange::Role,
    ]);
    (
        conv(),
        any::<(u64, u64)>(),
        user(),
        user(),
        opt(role()),
        change,
        patch(data()),
    )
        .prop_map(
            |(conversation, (seq, timestamp_ms), user, member, role, change, data)| MemberEvent {
                conversation,
                seq,
                timestamp_ms,
                user,
                member,
                role,
                change,
                data,
            },
        )
}

fn changes() -> Vec<BoxedStrategy<Event>> {
    let head = || (conv(), any::<(u64, u64, u64)>(), user());
    let edit = (head(), body(), opt(users()), any::<bool>()).prop_map(
        |((conversation, (seq, target_seq, timestamp_ms), user), body, mentions, deleted)| EditEvent {
            conversation,
            seq,
            target_seq,
            user,
            timestamp_ms,
            body,
            mentions,
            deleted,
        },
    );
    let del = head().prop_map(
        |(conversation, (seq, target_seq, timestamp_ms), user)| DeleteEvent {
            conversation,
            seq,
            target_seq,
            user,
            timestamp_ms,
        },
    );
    let react = (head(), reaction(), any::<bool>(), opt(user())).prop_map(
        |((conversation, (seq, target_seq, timestamp_ms), user), reaction, active, removed_by)| {
            ReactionEvent {
                conversation,
                seq,
                target_seq,
                user,
                timestamp_ms,
                reaction,
                active,
                removed_by,
            }
        },
    );
    let meta = (head(), opt(words()), opt(history()), patch(data())).prop_map(
        |((conversation, (seq, _, timestamp_ms), user), title, history, data)| MetadataEvent {
            conversation,
            seq,
            timestamp_ms,
            user,
            title,
            history,
            data,
        },
    );
    vec![
        edit.prop_map(Event::Edit).boxed(),
        del.prop_map(Event::Del).boxed(),
        react.prop_map(Event::React).boxed(),
        meta.prop_map(Event::Meta).boxed(),
    ]
}

fn ephemeral() -> Vec<BoxedStrategy<Event>> {
    let typing = (conv(), user(), any::<bool>()).prop_map(|(conversation, user, active)| TypingEvent {
        conversation,
        user,
        active,
    });
    let state = prop_oneof![Just(PresenceState::Online), Just(PresenceState::Offline)];
    let presence = (user(), state, opt(any::<u64>())).prop_map(|(user, state, last_seen_ms)| PresenceEvent {
        user,
        state,
        last_seen_ms,
    });
    let receipt =
        (conv(), user(), any::<(u64, u64)>()).prop_map(|(conversation, user, (delivered, read))| {
            ReceiptEvent {
                conversation,
                user,
                delivered,
                read,
            }
        });
    let activity =
        (conv(), any::<(u64, u64, u64)>()).prop_map(|(conversation, (seq, message_number, timestamp_ms))| {
            ActivityEvent {
                conversation,
                last: LastEvent {
                    seq,
                    message_number,
                    timestamp_ms,
                },
            }
        });
    vec![
        typing.prop_map(Event::Typing).boxed(),
        presence.prop_map(Event::Presence).boxed(),
        (user(), any::<u64>())
            .prop_map(|(user, version)| Event::Profile(ProfileEvent { user, version }))
            .boxed(),
        receipt.prop_map(Event::Receipt).boxed(),
        activity.prop_map(Event::Activity).boxed(),
        words()
            .prop_map(|reason| Event::Resync(ResyncEvent { reason }))
            .boxed(),
        any::<(u16, u64)>()
            .prop_map(|(code, retry_ms)| Event::Bye(CloseEvent { code, retry_ms }))
            .boxed(),
    ]
}
