//! Changes: converts commands of the protocol to operations of the state machine. Pure, except for [`create`], [`me`]
//! and the submission.
//!
//! Path of a message: step 3 of 13.

use futures::future::Either;
use protocol::command::{
    CreateConversation, EditMessage, MemberAction, SendMessage, SendTarget, SetReaction, SetRole,
    UpdateProfile,
};
use protocol::{
    Body, ClientCommand, ClientMessageId, ConversationId, ConversationKind, CustomData, ErrorCode, UserId,
    response,
};

use crate::shard_client::{CommandAck, CommandError, ConversationSpec, ShardClient};
use crate::state_machine::query::WishesQuery;
use crate::state_machine::{CommandOrigin, ConversationOp};

/// Change of one conversation, ready for submission.
#[derive(Clone, Debug)]
pub struct ConversationChange {
    pub conv: ConversationId,
    /// Idempotency key; `None` for cursors and blocks.
    pub cid: Option<ClientMessageId>,
    pub op: ConversationOp,
}

// === impl ConversationChange ===

impl ConversationChange {
    /// Converts a `send` command with a body of at most `body_bytes` bytes.
    ///
    /// # Errors
    /// A body over the node's limit, or other than exactly one target.
    pub fn send(
        user: &UserId,
        send: SendMessage,
        body_bytes: usize,
    ) -> Result<ConversationChange, CommandError> {
        let (conv, direct) = match send.target() {
            Some(SendTarget::Conv(conv)) => (conv.clone(), None),
            Some(SendTarget::User(to)) => (ConversationId::direct(user, to), Some(to.clone())),
            None => {
                let msg = "exactly one of c and to must be given";
                return Err(CommandError::new(ErrorCode::BadRequest, msg));
            }
        };
        fits(&send.body, body_bytes)?;
        let op = ConversationOp::Send {
            direct,
            body: send.body.as_str().into(),
            reply_to: send.reply_to,
            mentions: send.mentions,
        };
        Ok(ConversationChange {
            conv,
            cid: Some(send.client_message_id),
            op,
        })
    }

    /// Converts an `edit` command with a body of at most `body_bytes` bytes.
    ///
    /// # Errors
    /// A body over the node's limit.
    pub fn edit(edit: EditMessage, body_bytes: usize) -> Result<ConversationChange, CommandError> {
        let EditMessage {
            conversation: c,
            target_seq: of,
            client_message_id: cid,
            body: b,
            mentions,
        } = edit;
        fits(&b, body_bytes)?;
        let body = b.as_str().into();
        Ok(ConversationChange {
            conv: c,
            cid: Some(cid),
            op: ConversationOp::Edit { of, body, mentions },
        })
    }

    /// Converts any other change of one conversation. Returns `None` for `send`, `edit`, `create`, `block`, `unblock`
    /// and commands that change no conversation.
    #[must_use]
    pub fn of(command: ClientCommand) -> Option<ConversationChange> {
        let (conv, cid, op) = match command {
            ClientCommand::Invite(MemberAction { conversation: c, client_message_id: cid, member: who }) => {
                (c, Some(cid), ConversationOp::Invite { who })
            }
            ClientCommand::Kick(MemberAction { conversation: c, client_message_id: cid, member: who }) => (c, Some(cid), ConversationOp::Kick { who }),
            ClientCommand::Ban(MemberAction { conversation: c, client_message_id: cid, member: who }) => (c, Some(cid), ConversationOp::Ban { who }),
            ClientCommand::Unban(MemberAction { conversation: c, client_message_id: cid, member: who }) => {
                (c, Some(cid), ConversationOp::Unban { who })
            }
            ClientCommand::Role(SetRole { conversation: c, client_message_id: cid, member: who, role, data }) => {
                (c, Some(cid), ConversationOp::SetRole { who, role, data: data.change(CustomData::as_str) })
            }
            ClientCommand::Join(join) => (join.conversation, Some(join.client_message_id), ConversationOp::Join),
            ClientCommand::Set(set) => {
                let op = ConversationOp::Set {
                    title: set.title,
                    history: set.history,
                    muted: set.muted,
                    pinned: set.pinned,
                    data: set.data.change(CustomData::as_str),
                };
                (set.conversation, Some(set.client_message_id), op)
            }
            ClientCommand::Leave(leave) => (leave.conversation, Some(leave.client_message_id), ConversationOp::Leave),
            ClientCommand::Del(del) => (del.conversation, Some(del.client_message_id), ConversationOp::Delete { of: del.target_seq }),
            ClientCommand::React(SetReaction {
                conversation: c,
                target_seq: of,
                client_message_id: cid,
                reaction: k,
                active: on,
                member: who,
            }) => {
                let k = k.into();
                (c, Some(cid), ConversationOp::React { of, k, on, who })
            }
            // Cursors only move forward, so a repetition is harmless without a key.
            ClientCommand::Read(cursor) => (cursor.conversation, None, ConversationOp::Read { s: cursor.seq }),
            ClientCommand::Recv(cursor) => (cursor.conversation, None, ConversationOp::Delivered { s: cursor.seq }),
            // Changes with functions of their own, see above.
            ClientCommand::Send(_)
            | ClientCommand::Edit(_)
            | ClientCommand::Create(_)
            | ClientCommand::Block(_)
            | ClientCommand::Unblock(_)
            // Commands that change no conversation.
            | ClientCommand::Auth(_)
            | ClientCommand::Open(_)
            | ClientCommand::List(_)
            | ClientCommand::Hist(_)
            | ClientCommand::Sync(_)
            | ClientCommand::Members(_)
            | ClientCommand::Typing(_)
            | ClientCommand::Watch(_)
            | ClientCommand::Unwatch(_)
            | ClientCommand::Me(_)
            | ClientCommand::Users(_)
            | ClientCommand::Hb(_) => return None,
        };
        Some(ConversationChange { conv, cid, op })
    }

    /// Converts `block` and `unblock` to a change of the direct conversation of the two users, which need not exist.
    #[must_use]
    pub fn block(user: &UserId, who: UserId, on: bool) -> ConversationChange {
        ConversationChange {
            conv: ConversationId::direct(user, &who),
            // A repeated block changes nothing and needs no key.
            cid: None,
            op: ConversationOp::Block { who, on },
        }
    }

    /// Queues the change for its shard owner before it returns, see [`ShardClient::submit`]. An invitation first
    /// requests the user's consent, see [`ShardClient::invite`]. The session tagged `skip` gets no event of the change;
    /// 0 for none.
    pub fn submit(
        self,
        conversations: &ShardClient,
        user: UserId,
        skip: u64,
    ) -> impl Future<Output = Result<CommandAck, CommandError>> + std::marker::Send + use<> {
        let ConversationChange { conv, cid, op } = self;
        match (op, cid) {
            // Cloned, because the future must not borrow: its caller may drop the handle before it resolves.
            (ConversationOp::Invite { who }, Some(cid)) => {
                let conversations = conversations.clone();
                Either::Left(async move { conversations.invite(user, conv, cid, skip, who).await })
            }
            (op, cid) => {
                let origin = CommandOrigin {
                    user,
                    cid,
                    exclude_session: skip,
                };
                Either::Right(conversations.submit(conv, origin, op))
            }
        }
    }
}

/// Executes `me`: applies what is given, and returns the user's profile and settings. The profile goes first: it can be
/// refused, a setting cannot.
///
/// # Errors
/// The refusal of the user's shard.
pub async fn me(
    conversations: &ShardClient,
    user: UserId,
    me: UpdateProfile,
) -> Result<response::MeResponse, CommandError> {
    if me.has_profile() {
        conversations.put_profile(user.clone(), &me).await?;
    }
    let group_invite = match me.group_invite {
        Some(group_invite) => {
            conversations.wish(user.clone(), group_invite).await?;
            group_invite
        }
        None => conversations.query(&WishesQuery { user: user.clone() }).await?,
    };
    let profile = conversations.profile(&user).await?;
    Ok(response::MeResponse {
        user,
        group_invite,
        name: profile.name,
        avatar: profile.avatar,
        data: profile.data,
        version: Some(profile.version).filter(|version| *version > 0),
    })
}

fn fits(b: &Body, body_bytes: usize) -> Result<(), CommandError> {
    if b.as_str().len() > body_bytes {
        return Err(CommandError::new(
            ErrorCode::TooLarge,
            format!("b exceeds {body_bytes} bytes"),
        ));
    }
    Ok(())
}

/// Executes `create`: creates a conversation, or returns the one that the same `cid` created before.
///
/// # Errors
/// The owner's refusal, or a direct conversation with other than one other member.
pub async fn create(
    conversations: &ShardClient,
    user: UserId,
    create: CreateConversation,
) -> Result<CommandAck, CommandError> {
    let (cid, spec) = specified(create)?;
    conversations.create(user, cid, 0, spec).await
}

/// Returns the idempotency key of `create`, and the conversation that it describes.
///
/// # Errors
/// A direct conversation with other than one other member.
pub(crate) fn specified(
    create: CreateConversation,
) -> Result<(ClientMessageId, ConversationSpec), CommandError> {
    let CreateConversation {
        kind,
        client_message_id: cid,
        members,
        title,
        data,
    } = create;
    if kind == ConversationKind::Direct && members.len() != 1 {
        let msg = "a direct conversation is with exactly one user";
        return Err(CommandError::new(ErrorCode::BadRequest, msg));
    }
    // As with `set`, an empty title means none.
    let title = title.filter(|title| !title.is_empty());
    let spec = ConversationSpec {
        kind,
        members,
        title,
        data: data.map(|data| data.as_str().into()),
    };
    Ok((cid, spec))
}
