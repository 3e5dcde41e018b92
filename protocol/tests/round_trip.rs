//! What is written is read back the same, whatever it holds.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use protocol::answer::{self, ConversationSnapshot, LastEvent, Response};
use protocol::command::{self, ClientCommand, Request};
use protocol::event::{self, Event, PresenceState, event_frame};
use protocol::{
    Body, ClientMessageId, ConversationId, ConversationKind, EncodedEvent, ErrorCode, GroupInvite,
    HistoryVisibility, MembershipChange, MessageState, Role, ServerFrame, UserId, text,
};

fn user() -> impl Strategy<Value = UserId> {
    "[A-Za-z0-9_.@+-]{1,64}".prop_map(|text| UserId::parse(&text).unwrap())
}

fn conv() -> impl Strategy<Value = ConversationId> {
    "(g_|ch_|d_|)[A-Za-z0-9_-]{1,60}".prop_map(|text| ConversationId::parse(&text).unwrap())
}

fn cid() -> impl Strategy<Value = ClientMessageId> {
    "\\PC{1,16}|[\\x00-\\x7f]{1,64}".prop_map(|text| ClientMessageId::parse(&text).unwrap())
}

fn body() -> impl Strategy<Value = Body> {
    (any::<String>(), any::<i64>(), any::<f64>()).prop_map(|(text, int, float)| {
        let text = serde_json::to_string(&text).unwrap();
        let float = if float.is_finite() {
            format!("{float:e}")
        } else {
            "null".to_owned()
        };
        Body::new(format!(
            "{{\"text\": {text},\n\"i\":{int},\"f\":{float},\"a\":[[],{{}}]}}"
        ))
        .unwrap()
    })
}

fn opt<T: std::fmt::Debug + Clone>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(of)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,16}"
}

fn title() -> impl Strategy<Value = String> {
    text().prop_filter("fit to be shown", |title| {
        title.is_empty() || text::visible(title).is_ok()
    })
}

fn kind() -> impl Strategy<Value = ConversationKind> {
    proptest::sample::select(ConversationKind::ALL.to_vec())
}

fn role() -> impl Strategy<Value = Role> {
    proptest::sample::select(Role::ALL.to_vec())
}

fn users() -> impl Strategy<Value = Vec<UserId>> {
    proptest::collection::vec(user(), 0..4)
}

fn command() -> impl Strategy<Value = ClientCommand> {
    let auth = (text(), opt(text()), opt(text()), opt((text(), any::<u64>()))).prop_map(
        |(token, device, instance, r)| {
            let resume = r.map(|(sid, n)| command::ResumeSession {
                session_id: sid,
                session_seq: n,
            });
            ClientCommand::Auth(command::Authenticate {
                token,
                device,
                instance,
                resume,
            })
        },
    );
    let target = prop_oneof![conv().prop_map(Ok), user().prop_map(Err)];
    let send = (target, cid(), body(), opt(any::<u64>()), users(), any::<bool>()).prop_map(
        |(target, cid, b, reply_to, mentions, echo)| {
            let (c, to) = (target.clone().ok(), target.err());
            ClientCommand::Send(command::SendMessage {
                conversation: c,
                to,
                client_message_id: cid,
                body: b,
                reply_to,
                mentions,
                echo,
            })
        },
    );
    let create = (kind(), cid(), users(), opt(title())).prop_map(|(kind, cid, members, title)| {
        ClientCommand::Create(command::CreateConversation {
            kind,
            client_message_id: cid,
            members,
            title,
        })
    });
    let hist = (conv(), any::<u64>(), 0..3, opt(any::<u64>())).prop_map(|(c, s, which, limit)| {
        ClientCommand::Hist(command::GetHistory {
            conversation: c,
            before: (which == 1).then_some(s),
            after: (which == 2).then_some(s),
            limit,
        })
    });
    let have = proptest::collection::vec((conv(), any::<u64>()), 0..4);
    prop_oneof![
        words(),
        membership(),
        auth,
        send,
        create,
        hist,
        (conv(), cid(), user()).prop_map(|(c, cid, who)| ClientCommand::Invite(command::MemberAction {
            conversation: c,
            client_message_id: cid,
            member: who
        })),
        (conv(), cid(), user()).prop_map(|(c, cid, who)| ClientCommand::Kick(command::MemberAction {
            conversation: c,
            client_message_id: cid,
            member: who
        })),
        (conv(), cid()).prop_map(|(c, cid)| ClientCommand::Leave(command::LeaveConversation {
            conversation: c,
            client_message_id: cid
        })),
        (conv(), any::<u64>()).prop_map(|(c, s)| ClientCommand::Read(command::MoveCursor {
            conversation: c,
            seq: s
        })),
        (conv(), any::<u64>()).prop_map(|(c, s)| ClientCommand::Recv(command::MoveCursor {
            conversation: c,
            seq: s
        })),
        (conv(), opt(any::<u64>())).prop_map(|(c, have)| ClientCommand::Open(command::OpenConversation {
            conversation: c,
            have
        })),
        (opt(text()), opt(any::<u64>()))
            .prop_map(|(cursor, limit)| ClientCommand::List(command::ListConversations { cursor, limit })),
        (have, opt(text()))
            .prop_map(|(have, cursor)| ClientCommand::Sync(command::SyncRequest { have, cursor })),
        opt(group_invite())
            .prop_map(|group_invite| ClientCommand::Me(command::UpdateProfile { group_invite })),
        opt(any::<u64>()).prop_map(|n| ClientCommand::Hb(command::Heartbeat { session_seq: n })),
    ]
}

fn group_invite() -> impl Strategy<Value = GroupInvite> {
    proptest::sample::select(vec![
        GroupInvite::Anyone,
        GroupInvite::SharesConversation,
        GroupInvite::NoOne,
    ])
}

fn mentions() -> impl Strategy<Value = Option<Vec<UserId>>> {
    opt(proptest::collection::vec(user(), 0..3))
}

fn words() -> impl Strategy<Value = ClientCommand> {
    prop_oneof![
        (conv(), any::<u64>(), cid(), body(), mentions()).prop_map(|(c, of, cid, b, mentions)| {
            ClientCommand::Edit(command::EditMessage {
                conversation: c,
                target_seq: of,
                client_message_id: cid,
                body: b,
                mentions,
            })
        }),
        (conv(), any::<u64>(), cid()).prop_map(|(c, of, cid)| ClientCommand::Del(command::DeleteMessage {
            conversation: c,
            target_seq: of,
            client_message_id: cid
        })),
        (
            conv(),
            any::<u64>(),
            cid(),
            reaction(),
            any::<bool>(),
            opt(user())
        )
            .prop_map(|(c, of, cid, k, on, who)| {
                ClientCommand::React(command::SetReaction {
                    conversation: c,
                    target_seq: of,
                    client_message_id: cid,
                    reaction: k,
                    active: on,
                    member: who.filter(|_| !on),
                })
            }),
        (conv(), any::<bool>()).prop_map(|(c, on)| ClientCommand::Typing(command::SetTyping {
            conversation: c,
            active: on
        })),
    ]
}

fn membership() -> impl Strategy<Value = ClientCommand> {
    let set = (
        conv(),
        cid(),
        opt(text()),
        opt(history()),
        opt(any::<bool>()),
        any::<bool>(),
    )
        .prop_map(|(c, cid, title, history, muted, pinned)| {
            ClientCommand::Set(command::UpdateConversation {
                conversation: c,
                client_message_id: cid,
                title,
                history,
                muted,
                pinned: Some(pinned),
            })
        });
    let members = (conv(), opt(text()), opt(any::<u64>())).prop_map(|(c, cursor, limit)| {
        ClientCommand::Members(command::ListMembers {
            conversation: c,
            cursor,
            limit,
        })
    });
    prop_oneof![
        set,
        members,
        (conv(), cid(), user()).prop_map(|(c, cid, who)| ClientCommand::Ban(command::MemberAction {
            conversation: c,
            client_message_id: cid,
            member: who
        })),
        (conv(), cid(), user()).prop_map(|(c, cid, who)| ClientCommand::Unban(command::MemberAction {
            conversation: c,
            client_message_id: cid,
            member: who
        })),
        (conv(), cid(), user(), role()).prop_map(|(c, cid, who, role)| ClientCommand::Role(
            command::SetRole {
                conversation: c,
                client_message_id: cid,
                member: who,
                role
            }
        )),
        (conv(), cid()).prop_map(|(c, cid)| ClientCommand::Join(command::JoinConversation {
            conversation: c,
            client_message_id: cid
        })),
        users().prop_map(|users| ClientCommand::Watch(command::WatchUsers { users })),
        users().prop_map(|users| ClientCommand::Unwatch(command::WatchUsers { users })),
        user().prop_map(|who| ClientCommand::Block(command::BlockUser { user: who })),
        user().prop_map(|who| ClientCommand::Unblock(command::BlockUser { user: who })),
    ]
}

fn reaction() -> impl Strategy<Value = String> {
    "[a-z0-9:+\"\\\\-]{1,32}|\\PC{1,8}".prop_filter("no control characters", |k| text::reaction(k).is_ok())
}

fn history() -> impl Strategy<Value = HistoryVisibility> {
    proptest::sample::select(vec![HistoryVisibility::All, HistoryVisibility::Joined])
}

fn msg() -> impl Strategy<Value = event::MessageEvent> {
    let head = (conv(), any::<u64>(), any::<u64>(), any::<u64>(), user());
    (head, cid(), body(), opt(any::<u64>()), users(), any::<bool>()).prop_map(
        |((c, s, mn, ts, u), cid, b, reply_to, mentions, deleted)| event::MessageEvent {
            conversation: c,
            seq: s,
            message_number: mn,
            timestamp_ms: ts,
            user: u,
            client_message_id: cid,
            body: b,
            reply_to,
            mentions,
            deleted,
        },
    )
}

fn conv_shape() -> impl Strategy<Value = ConversationSnapshot> {
    let events = opt(proptest::collection::vec(msg(), 0..3));
    let flags = any::<(bool, bool, bool)>();
    (
        conv(),
        kind(),
        opt(text()),
        opt(role()),
        any::<[u64; 5]>(),
        opt(user()),
        events,
        flags,
    )
        .prop_map(
            |(c, kind, title, role, n, peer, events, (muted, pinned, gap))| ConversationSnapshot {
                conversation: c,
                kind,
                title,
                role,
                last: LastEvent {
                    seq: n[0],
                    message_number: n[1],
                    timestamp_ms: n[2],
                },
                read: n[3],
                delivered: n[4],
                muted,
                pinned,
                history: muted.then_some(HistoryVisibility::Joined),
                members: pinned.then_some(n[2]),
                peer: peer.map(|u| answer::DirectPeer {
                    user: u,
                    delivered: n[4],
                    read: n[3],
                }),
                events: events.map(|events| events.iter().map(raw).collect()),
                gap,
            },
        )
}

fn raw(msg: &event::MessageEvent) -> EncodedEvent {
    EncodedEvent::from_tail(msg.parts().tail().as_bytes()).unwrap()
}

fn changes() -> impl Strategy<Value = Event> {
    let head = || (conv(), any::<(u64, u64, u64)>(), user());
    prop_oneof![
        (head(), body(), mentions(), any::<bool>()).prop_map(
            |((c, (s, of, ts), u), b, mentions, deleted)| {
                Event::Edit(event::EditEvent {
                    conversation: c,
                    seq: s,
                    target_seq: of,
                    user: u,
                    timestamp_ms: ts,
                    body: b,
                    mentions,
                    deleted,
                })
            }
        ),
        head().prop_map(|(c, (s, of, ts), u)| Event::Del(event::DeleteEvent {
            conversation: c,
            seq: s,
            target_seq: of,
            user: u,
            timestamp_ms: ts
        })),
        (head(), reaction(), any::<bool>(), opt(user())).prop_map(|((c, (s, of, ts), u), k, on, by)| {
            Event::React(event::ReactionEvent {
                conversation: c,
                seq: s,
                target_seq: of,
                user: u,
                timestamp_ms: ts,
                reaction: k,
                active: on,
                removed_by: by,
            })
        }),
        (head(), opt(text()), opt(history())).prop_map(|((c, (s, _, ts), u), title, history)| {
            Event::Meta(event::MetadataEvent {
                conversation: c,
                seq: s,
                timestamp_ms: ts,
                user: u,
                title,
                history,
            })
        }),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let why = proptest::sample::select(vec![
        MembershipChange::Create,
        MembershipChange::Join,
        MembershipChange::Leave,
        MembershipChange::Invite,
        MembershipChange::Kick,
        MembershipChange::Ban,
        MembershipChange::Unban,
        MembershipChange::Role,
    ]);
    let member = (conv(), any::<(u64, u64)>(), user(), user(), opt(role()), why).prop_map(
        |(c, (s, ts), u, who, role, why)| event::MemberEvent {
            conversation: c,
            seq: s,
            timestamp_ms: ts,
            user: u,
            member: who,
            role,
            change: why,
        },
    );
    prop_oneof![
        changes(),
        msg().prop_map(Event::Msg),
        (conv(), user(), any::<bool>()).prop_map(|(c, u, on)| Event::Typing(event::TypingEvent {
            conversation: c,
            user: u,
            active: on
        })),
        (user(), any::<bool>(), opt(any::<u64>())).prop_map(|(u, there, seen)| {
            let state = if there {
                PresenceState::Online
            } else {
                PresenceState::Offline
            };
            Event::Presence(event::PresenceEvent {
                user: u,
                state,
                last_seen_ms: seen,
            })
        }),
        member.prop_map(Event::Member),
        conv_shape().prop_map(Event::Conv),
        (conv(), user(), any::<(u64, u64)>()).prop_map(|(c, u, (delivered, read))| {
            Event::Receipt(event::ReceiptEvent {
                conversation: c,
                user: u,
                delivered,
                read,
            })
        }),
        (conv(), any::<(u64, u64, u64)>()).prop_map(|(c, (s, mn, ts))| {
            let last = LastEvent {
                seq: s,
                message_number: mn,
                timestamp_ms: ts,
            };
            Event::Activity(event::ActivityEvent {
                conversation: c,
                last,
            })
        }),
        text().prop_map(|why| Event::Resync(event::ResyncEvent { reason: why })),
        any::<(u16, u64)>().prop_map(|(code, retry_ms)| Event::Bye(event::CloseEvent { code, retry_ms })),
    ]
}

fn answers() -> impl Strategy<Value = Response> {
    let ack = (
        conv(),
        cid(),
        opt(any::<u64>()),
        opt(any::<u64>()),
        opt(any::<u64>()),
        any::<bool>(),
    )
        .prop_map(|(c, cid, s, mn, ts, dup)| {
            Response::Ack(answer::Ack {
                conversation: c,
                client_message_id: cid,
                seq: s,
                message_number: mn,
                timestamp_ms: ts,
                duplicate: dup,
            })
        });
    let delta = (
        proptest::collection::vec((conv(), msg(), any::<bool>()), 0..3),
        opt(text()),
    )
        .prop_map(|(items, next)| {
            let as_of = items.iter().map(|(c, msg, _)| (c.clone(), msg.seq)).collect();
            let item = |(c, msg, gap)| answer::SyncResponseItem {
                conversation: c,
                events: vec![raw(&msg)],
                gap,
            };
            Response::Delta(answer::SyncResponse {
                as_of,
                items: items.into_iter().map(item).collect(),
                next,
            })
        });
    let err = (
        proptest::sample::select(ErrorCode::ALL.to_vec()),
        text(),
        opt(any::<u64>()),
    )
        .prop_map(|(code, msg, retry_ms)| Response::Err(answer::ErrorResponse::new(code, msg, retry_ms)));
    let member = |(u, role, delivered, read)| answer::ConversationMember {
        user: u,
        role,
        delivered,
        read,
    };
    let members = (
        proptest::collection::vec((user(), role(), opt(any::<u64>()), opt(any::<u64>())), 0..3),
        opt(text()),
    )
        .prop_map(move |(items, next)| {
            let items = items.into_iter().map(member).collect();
            Response::Members(answer::MembersResponse { items, next })
        });
    prop_oneof![
        ack,
        delta,
        members,
        err,
        conv_shape().prop_map(Response::Conv),
        Just(Response::Ok(answer::OkResponse {})),
        (user(), group_invite()).prop_map(|(u, group_invite)| Response::Me(answer::MeResponse {
            user: u,
            group_invite
        })),
        any::<u64>().prop_map(|time| Response::Hb(answer::HeartbeatResponse { timestamp_ms: time })),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip(id in opt(any::<i64>()), command in command()) {
        let request = Request { id, command };
        let text = request.encode();
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(Request::decode(&text), Ok(Some(request)));
    }

    #[test]
    fn events_round_trip_on_one_line(n in any::<u64>(), event in events()) {
        let frame = event_frame(n, &event.tail());
        prop_assert!(!frame.contains('\n'));
        prop_assert_eq!(ServerFrame::decode(&frame), Ok(ServerFrame::Event { session_seq: n, event }));
    }

    #[test]
    fn answers_round_trip(id in opt(any::<i64>()), answer in answers()) {
        prop_assert_eq!(ServerFrame::decode(&answer.encode(id)), Ok(ServerFrame::Answer { id, answer }));
    }

    #[test]
    fn messages_round_trip(msg in msg(), edited_ts in opt(any::<u64>()), counts in proptest::collection::btree_map(reaction(), any::<u64>(), 0..4)) {
        let message = MessageState { edited_timestamp_ms: edited_ts, reactions: counts, ..MessageState::from(msg) };
        let text = serde_json::to_string(&message).unwrap();
        prop_assert_eq!(serde_json::from_str::<MessageState>(&text).unwrap(), message);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = Request::decode(&text);
        let _ = ServerFrame::decode(&text);
    }

    #[test]
    fn no_damage_makes_the_reader_panic(command in command(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut text: Vec<char> = Request { id: Some(1), command }.encode().chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        let text: String = text.into_iter().collect();
        let _ = Request::decode(&text);
    }
}
