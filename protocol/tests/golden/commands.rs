//! Frozen texts of the commands.

use protocol::command::{self, ClientCommand, Request};
use protocol::{ConversationKind, CustomData, FieldPatch, GroupInvite, HistoryVisibility, Role};

use crate::{assert_complete, body, cid, conv, user};

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
                resume: Some(command::ResumeTarget::Session(command::ResumeSession {
                    session_id: "s1".into(),
                    session_seq: 412,
                })),
            }),
            r#"{"t":"auth","id":7,"token":"dev:alice","device":"phone-1","instance":"x7","resume":{"sid":"s1","n":412}}"#,
        ),
        (
            ClientCommand::Auth(command::Authenticate {
                token: "t".into(),
                device: Some("phone-1".into()),
                instance: None,
                resume: Some(command::ResumeTarget::Device(command::DeviceResume::Device)),
            }),
            r#"{"t":"auth","id":7,"token":"t","device":"phone-1","resume":"device"}"#,
        ),
        (
            ClientCommand::Auth(command::Authenticate {
                token: "t".into(),
                device: Some("phone-1".into()),
                instance: None,
                resume: Some(command::ResumeTarget::Device(command::DeviceResume::Clean)),
            }),
            r#"{"t":"auth","id":7,"token":"t","device":"phone-1","resume":"clean"}"#,
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
                data: None,
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
                role: Some(Role::Admin),
                data: FieldPatch::Keep,
            }),
            r#"{"t":"role","id":7,"c":"g_01","cid":"k1","who":"bob","role":"admin"}"#,
        ),
        (
            ClientCommand::Role(command::SetRole {
                conversation: c.clone(),
                client_message_id: cid("k1"),
                member: user("bob"),
                role: None,
                data: FieldPatch::Remove,
            }),
            r#"{"t":"role","id":7,"c":"g_01","cid":"k1","who":"bob","data":null}"#,
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
                data: FieldPatch::Set(CustomData::new(r#"{"kind" : "team"}"#).unwrap()),
                muted: None,
                pinned: None,
            }),
            r#"{"t":"set","id":7,"c":"g_01","cid":"k1","title":"Team","history":"all","data":{"kind" : "team"}}"#,
        ),
        (
            ClientCommand::Set(command::UpdateConversation {
                conversation: c.clone(),
                client_message_id: cid("k1"),
                title: None,
                history: None,
                data: FieldPatch::Keep,
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
                data_kind: None,
            }),
            r#"{"t":"list","id":7}"#,
        ),
        (
            ClientCommand::List(command::ListConversations {
                cursor: Some("x".into()),
                limit: Some(20),
                data_kind: None,
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
                ..Default::default()
            }),
            r#"{"t":"me","id":7,"group_invite":"shares_conversation"}"#,
        ),
        (
            ClientCommand::Me(command::UpdateProfile {
                group_invite: None,
                name: FieldPatch::Set("Ada".into()),
                avatar: FieldPatch::Remove,
                data: FieldPatch::Set(CustomData::new(r#"{"x" : 1}"#).unwrap()),
            }),
            r#"{"t":"me","id":7,"name":"Ada","avatar":null,"data":{"x" : 1}}"#,
        ),
        (
            ClientCommand::Users(command::GetUsers {
                ids: vec![user("bob"), user("eve")],
            }),
            r#"{"t":"users","id":7,"ids":["bob","eve"]}"#,
        ),
        (
            ClientCommand::Hb(command::Heartbeat { session_seq: None }),
            r#"{"t":"hb","id":7}"#,
        ),
    ];
    assert_complete(
        &ClientCommand::shapes(),
        table.iter().map(|(command, _)| command.tag()),
    );
    for (command, text) in table {
        let request = Request { id: Some(7), command };
        assert_eq!(request.encode(), text);
        assert_eq!(Request::decode(text).unwrap(), Some(request), "{text}");
    }
}
