//! Strategies of the commands.

use proptest::prelude::*;
use protocol::command::{
    Authenticate, BlockUser, CreateConversation, DeleteMessage, DeviceResume, EditMessage, GetHistory,
    GetUsers, Heartbeat, JoinConversation, LeaveConversation, ListConversations, ListMembers, MemberAction,
    MoveCursor, OpenConversation, ResumeSession, ResumeTarget, SendMessage, SetReaction, SetRole, SetTyping,
    SyncRequest, UpdateConversation, UpdateProfile, WatchUsers,
};
use protocol::{ClientCommand, FieldPatch};

use crate::values::{
    body, cid, conv, data, group_invite, history, kind, opt, patch, reaction, role, title, user, users, words,
};

/// Returns one strategy for each command.
pub(crate) fn strategies() -> Vec<BoxedStrategy<ClientCommand>> {
    let position = opt(any::<u64>());
    let mut all = vec![
        auth().prop_map(ClientCommand::Auth).boxed(),
        (conv(), position)
            .prop_map(|(conversation, have)| OpenConversation { conversation, have })
            .prop_map(ClientCommand::Open)
            .boxed(),
        (opt(words()), opt(any::<u64>()), opt(words()))
            .prop_map(|(cursor, limit, data_kind)| ListConversations {
                cursor,
                limit,
                data_kind,
            })
            .prop_map(ClientCommand::List)
            .boxed(),
        hist().prop_map(ClientCommand::Hist).boxed(),
        (
            proptest::collection::vec((conv(), any::<u64>()), 0..4),
            opt(words()),
        )
            .prop_map(|(have, cursor)| ClientCommand::Sync(SyncRequest { have, cursor }))
            .boxed(),
        cursor().prop_map(ClientCommand::Read).boxed(),
        cursor().prop_map(ClientCommand::Recv).boxed(),
        (conv(), any::<bool>())
            .prop_map(|(conversation, active)| SetTyping { conversation, active })
            .prop_map(ClientCommand::Typing)
            .boxed(),
        (opt(group_invite()), patch(title()), patch(title()), patch(data()))
            .prop_map(|(group_invite, name, avatar, data)| UpdateProfile {
                group_invite,
                name: match name {
                    FieldPatch::Set(name) => FieldPatch::Set(format!("n{name}")),
                    other => other,
                },
                // Relative and without white space.
                avatar: match avatar {
                    FieldPatch::Set(name) => FieldPatch::Set(format!("/{}", name.len())),
                    other => other,
                },
                data,
            })
            .prop_map(ClientCommand::Me)
            .boxed(),
        users()
            .prop_map(|ids| ClientCommand::Users(GetUsers { ids }))
            .boxed(),
        opt(any::<u64>())
            .prop_map(|session_seq| ClientCommand::Hb(Heartbeat { session_seq }))
            .boxed(),
        watched().prop_map(ClientCommand::Watch).boxed(),
        watched().prop_map(ClientCommand::Unwatch).boxed(),
        blocked().prop_map(ClientCommand::Block).boxed(),
        blocked().prop_map(ClientCommand::Unblock).boxed(),
    ];
    all.extend(messages());
    all.extend(membership());
    all
}

fn messages() -> Vec<BoxedStrategy<ClientCommand>> {
    let target = prop_oneof![conv().prop_map(Ok), user().prop_map(Err)];
    let send = (target, cid(), body(), opt(any::<u64>()), users(), any::<bool>()).prop_map(
        |(target, client_message_id, body, reply_to, mentions, echo)| SendMessage {
            conversation: target.clone().ok(),
            to: target.err(),
            client_message_id,
            body,
            reply_to,
            mentions,
            echo,
        },
    );
    let edit = (conv(), any::<u64>(), cid(), body(), opt(users())).prop_map(
        |(conversation, target_seq, client_message_id, body, mentions)| EditMessage {
            conversation,
            target_seq,
            client_message_id,
            body,
            mentions,
        },
    );
    let del = (conv(), any::<u64>(), cid()).prop_map(|(conversation, target_seq, client_message_id)| {
        DeleteMessage {
            conversation,
            target_seq,
            client_message_id,
        }
    });
    let react = (
        conv(),
        any::<u64>(),
        cid(),
        reaction(),
        any::<bool>(),
        opt(user()),
    )
        .prop_map(
            |(conversation, target_seq, client_message_id, reaction, active, member)| SetReaction {
                conversation,
                target_seq,
                client_message_id,
                reaction,
                active,
                member: member.filter(|_| !active),
            },
        );
    vec![
        send.prop_map(ClientCommand::Send).boxed(),
        edit.prop_map(ClientCommand::Edit).boxed(),
        del.prop_map(ClientCommand::Del).boxed(),
        react.prop_map(ClientCommand::React).boxed(),
    ]
}

fn membership() -> Vec<BoxedStrategy<ClientCommand>> {
    let create = (kind(), cid(), users(), opt(title()), opt(data())).prop_map(
        |(kind, client_message_id, members, title, data)| CreateConversation {
            kind,
            client_message_id,
            members,
            title,
            data,
        },
    );
    let switches = (opt(any::<bool>()), any::<bool>());
    let set = (
        conv(),
        cid(),
        opt(title()),
        opt(history()),
        patch(data()),
        switches,
    )
        .prop_map(
            |(conversation, client_message_id, title, history, data, (muted, pinned))| UpdateConversation {
                conversation,
                client_message_id,
                title,
                history,
                data,
                muted,
                pinned: Some(pinned),
            },
        );
    let set_role = (conv(), cid(), user(), role(), patch(data())).prop_map(
        |(conversation, client_message_id, member, role, data)| SetRole {
            conversation,
            client_message_id,
            member,
            role: Some(role).filter(|_| data.is_keep()),
            data,
        },
    );
    let members =
        (conv(), opt(words()), opt(any::<u64>())).prop_map(|(conversation, cursor, limit)| ListMembers {
            conversation,
            cursor,
            limit,
        });
    let join = (conv(), cid()).prop_map(|(conversation, client_message_id)| JoinConversation {
        conversation,
        client_message_id,
    });
    let leave = (conv(), cid()).prop_map(|(conversation, client_message_id)| LeaveConversation {
        conversation,
        client_message_id,
    });
    vec![
        create.prop_map(ClientCommand::Create).boxed(),
        set.prop_map(ClientCommand::Set).boxed(),
        set_role.prop_map(ClientCommand::Role).boxed(),
        members.prop_map(ClientCommand::Members).boxed(),
        join.prop_map(ClientCommand::Join).boxed(),
        leave.prop_map(ClientCommand::Leave).boxed(),
        action().prop_map(ClientCommand::Invite).boxed(),
        action().prop_map(ClientCommand::Kick).boxed(),
        action().prop_map(ClientCommand::Ban).boxed(),
        action().prop_map(ClientCommand::Unban).boxed(),
    ]
}

fn auth() -> impl Strategy<Value = Authenticate> {
    let resume = prop_oneof![
        (words(), any::<u64>()).prop_map(|(session_id, session_seq)| {
            ResumeTarget::Session(ResumeSession {
                session_id,
                session_seq,
            })
        }),
        Just(ResumeTarget::Device(DeviceResume::Device)),
        Just(ResumeTarget::Device(DeviceResume::Clean)),
    ];
    (words(), words(), any::<bool>(), opt(words()), opt(resume)).prop_map(
        |(token, device, named, instance, resume)| {
            // A resume by device needs its name.
            let device = (named || matches!(resume, Some(ResumeTarget::Device(_)))).then_some(device);
            Authenticate {
                token,
                device,
                instance,
                resume,
            }
        },
    )
}

fn hist() -> impl Strategy<Value = GetHistory> {
    (conv(), any::<u64>(), 0..3, opt(any::<u64>())).prop_map(|(conversation, seq, which, limit)| GetHistory {
        conversation,
        before: (which == 1).then_some(seq),
        after: (which == 2).then_some(seq),
        limit,
    })
}

fn cursor() -> impl Strategy<Value = MoveCursor> {
    (conv(), any::<u64>()).prop_map(|(conversation, seq)| MoveCursor { conversation, seq })
}

fn action() -> impl Strategy<Value = MemberAction> {
    (conv(), cid(), user()).prop_map(|(conversation, client_message_id, member)| MemberAction {
        conversation,
        client_message_id,
        member,
    })
}

fn watched() -> impl Strategy<Value = WatchUsers> {
    users().prop_map(|users| WatchUsers { users })
}

fn blocked() -> impl Strategy<Value = BlockUser> {
    user().prop_map(|user| BlockUser { user })
}
