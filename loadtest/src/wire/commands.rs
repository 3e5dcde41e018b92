//! Commands of the clients, built from the types of the crate `protocol`, which writes them as JSON.

use protocol::command::{
    Authenticate, CreateConversation, DeleteMessage, EditMessage, GetHistory, Heartbeat, JoinConversation,
    ListConversations, ListMembers, MemberAction, MoveCursor, OpenConversation, ResumeSession, ResumeTarget,
    SendMessage, SetReaction, SetRole, SetTyping, SyncRequest, WatchUsers,
};
use protocol::limits::PAGE;
use protocol::{
    Body, ClientCommand, ClientMessageId, ConversationId, ConversationKind, FieldPatch, Request, Role, UserId,
};

/// Returns the JSON text of a command. `id` is repeated in the response; without it there is none.
pub(crate) fn encode(id: Option<u64>, command: ClientCommand) -> String {
    let id = id.map(|id| id as i64);
    Request { id, command }.encode()
}

/// Authentication, the first command. `device` is constant for a client, `instance` for a process.
pub(crate) fn auth(token: &str, device: &str, instance: &str, resume: Option<(&str, u64)>) -> ClientCommand {
    ClientCommand::Auth(Authenticate {
        token: token.to_owned(),
        device: Some(device.to_owned()),
        instance: Some(instance.to_owned()),
        resume: resume.map(|(sid, n)| {
            ResumeTarget::Session(ResumeSession {
                session_id: sid.to_owned(),
                session_seq: n,
            })
        }),
    })
}

/// Message to a conversation.
pub(crate) fn send(c: &ConversationId, cid: ClientMessageId, body: String) -> ClientCommand {
    ClientCommand::Send(SendMessage {
        conversation: Some(c.clone()),
        to: None,
        client_message_id: cid,
        body: body_of(body),
        reply_to: None,
        mentions: Vec::new(),
        echo: true,
    })
}

/// Direct message to a user, in a conversation that the first message creates.
pub(crate) fn send_to(user: UserId, cid: &str, body: String) -> ClientCommand {
    ClientCommand::Send(SendMessage {
        conversation: None,
        to: Some(user),
        client_message_id: message_id(cid),
        body: body_of(body),
        reply_to: None,
        mentions: Vec::new(),
        echo: true,
    })
}

/// Creation of a conversation.
pub(crate) fn create(kind: ConversationKind, cid: &str, members: Vec<UserId>) -> ClientCommand {
    ClientCommand::Create(CreateConversation {
        kind,
        client_message_id: message_id(cid),
        members,
        title: None,
        data: None,
    })
}

/// Invitation of one user.
pub(crate) fn invite(c: &ConversationId, cid: &str, who: &UserId) -> ClientCommand {
    ClientCommand::Invite(member_action(c, cid, who))
}

/// Removal of one user.
pub(crate) fn kick(c: &ConversationId, cid: &str, who: &UserId) -> ClientCommand {
    ClientCommand::Kick(member_action(c, cid, who))
}

/// Join of a channel.
pub(crate) fn join(c: &ConversationId, cid: &str) -> ClientCommand {
    ClientCommand::Join(JoinConversation {
        conversation: c.clone(),
        client_message_id: message_id(cid),
    })
}

/// Change of a member's role.
pub(crate) fn role(c: &ConversationId, cid: &str, who: &UserId, role: Role) -> ClientCommand {
    ClientCommand::Role(SetRole {
        conversation: c.clone(),
        client_message_id: message_id(cid),
        member: who.clone(),
        role: Some(role),
        data: FieldPatch::Keep,
    })
}

/// Change of a message's body.
pub(crate) fn edit(c: &ConversationId, cid: &str, of: u64, body: String) -> ClientCommand {
    ClientCommand::Edit(EditMessage {
        conversation: c.clone(),
        target_seq: of,
        client_message_id: message_id(cid),
        body: body_of(body),
        mentions: None,
    })
}

/// Deletion of a message.
pub(crate) fn del(c: &ConversationId, cid: &str, of: u64) -> ClientCommand {
    ClientCommand::Del(DeleteMessage {
        conversation: c.clone(),
        target_seq: of,
        client_message_id: message_id(cid),
    })
}

/// Reaction to a message.
pub(crate) fn react(c: &ConversationId, cid: &str, of: u64, reaction: String) -> ClientCommand {
    ClientCommand::React(SetReaction {
        conversation: c.clone(),
        target_seq: of,
        client_message_id: message_id(cid),
        reaction,
        active: true,
        member: None,
    })
}

/// Move of the read cursor.
pub(crate) fn read(c: &ConversationId, s: u64) -> ClientCommand {
    ClientCommand::Read(MoveCursor {
        conversation: c.clone(),
        seq: s,
    })
}

/// Typing notice, which has no response.
pub(crate) fn typing(c: &ConversationId) -> ClientCommand {
    ClientCommand::Typing(SetTyping {
        conversation: c.clone(),
        active: true,
    })
}

/// Request for a page of the conversation list with `limit` rows.
pub(crate) fn list(cursor: Option<&str>, limit: usize) -> ClientCommand {
    ClientCommand::List(ListConversations {
        cursor: cursor.map(str::to_owned),
        limit: Some(limit as u64),
        data_kind: None,
    })
}

/// Watch of the presence of others.
pub(crate) fn watch(users: Vec<UserId>) -> ClientCommand {
    ClientCommand::Watch(WatchUsers { users })
}

/// Request for a conversation's state.
pub(crate) fn open(c: &ConversationId) -> ClientCommand {
    ClientCommand::Open(OpenConversation {
        conversation: c.clone(),
        have: None,
    })
}

/// Request for a page of the log above `after`.
pub(crate) fn hist(c: &ConversationId, after: u64, limit: usize) -> ClientCommand {
    history(c, Some(after), limit)
}

/// Request for the newest page of the log.
pub(crate) fn newest(c: &ConversationId, limit: usize) -> ClientCommand {
    history(c, None, limit)
}

/// Request for the first page of the members.
pub(crate) fn members(c: &ConversationId) -> ClientCommand {
    ClientCommand::Members(ListMembers {
        conversation: c.clone(),
        cursor: None,
        limit: Some(PAGE as u64),
    })
}

/// Request for the events above each position.
pub(crate) fn sync(have: Vec<(ConversationId, u64)>, cursor: Option<&str>) -> ClientCommand {
    ClientCommand::Sync(SyncRequest {
        have,
        cursor: cursor.map(str::to_owned),
    })
}

/// Heartbeat with the session seq of the last processed event.
pub(crate) fn heartbeat(n: u64) -> ClientCommand {
    ClientCommand::Hb(Heartbeat { session_seq: Some(n) })
}

fn history(c: &ConversationId, after: Option<u64>, limit: usize) -> ClientCommand {
    ClientCommand::Hist(GetHistory {
        conversation: c.clone(),
        before: None,
        after,
        limit: Some(limit as u64),
    })
}

fn member_action(c: &ConversationId, cid: &str, who: &UserId) -> MemberAction {
    MemberAction {
        conversation: c.clone(),
        client_message_id: message_id(cid),
        member: who.clone(),
    }
}

/// Returns the id of a user whose name the harness has formatted.
pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).expect("the harness formats user names of permitted characters")
}

/// Returns a client message id that the harness has formatted.
pub(crate) fn message_id(cid: &str) -> ClientMessageId {
    ClientMessageId::parse(cid).expect("the harness formats ids of at most 64 bytes")
}

/// Returns a body that the harness has formatted.
fn body_of(text: String) -> Body {
    Body::new(text).expect("the harness formats bodies as JSON objects")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_decodes_every_command_as_it_was_built() {
        let c = ConversationId::parse("g_1").unwrap();
        let bob = UserId::parse("bob").unwrap();
        for command in [
            auth("dev:ann \"x\"", "d", "i", Some(("s", 4))),
            send_to(bob.clone(), "r.0", r#"{"x":1}"#.to_owned()),
            send(
                &c,
                ClientMessageId::parse("r.1.2").unwrap(),
                r#"{"x":1}"#.to_owned(),
            ),
            create(ConversationKind::Group, "r.c", vec![bob.clone()]),
            invite(&c, "r.i", &bob),
            kick(&c, "r.k", &bob),
            join(&c, "r.j"),
            role(&c, "r.r", &bob, Role::Member),
            edit(&c, "r.2", 4, r#"{"x":1}"#.to_owned()),
            del(&c, "r.3", 4),
            react(&c, "r.4", 4, "\u{1f44d}".to_owned()),
            read(&c, 4),
            typing(&c),
            list(Some("x\"y"), PAGE),
            watch(vec![bob]),
            open(&c),
            hist(&c, 0, 100),
            newest(&c, 5),
            members(&c),
            sync(vec![(c.clone(), 4)], None),
            sync(Vec::new(), Some("g_0")),
            heartbeat(3),
        ] {
            let text = encode(Some(1 << 40), command.clone());
            let decoded = Request::decode(&text).unwrap().unwrap();
            assert_eq!(
                (decoded.id, &decoded.command),
                (Some(1 << 40), &command),
                "{text}"
            );
        }
    }
}
