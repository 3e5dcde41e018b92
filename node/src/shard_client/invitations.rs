//! Commands that make others members: creation of a conversation and invitation. Those of users request consent first.

use protocol::{ClientMessageId, ConversationId, ConversationKind, UserId};

use super::{CommandAck, CommandError, ShardClient};
use crate::rpc::submit::AppliedReply;
use crate::state_machine::{CommandOrigin, ConversationOp, ShardCommand, UserOp};

/// Conversation to be created.
#[derive(Clone, Debug)]
pub struct ConversationSpec {
    pub kind: ConversationKind,
    /// Initial members besides the creator.
    pub members: Vec<UserId>,
    pub title: Option<String>,
    /// Custom data, a JSON object.
    pub data: Option<Box<str>>,
}

// === impl ConversationSpec ===

impl ConversationSpec {
    fn into_op(self) -> ConversationOp {
        ConversationOp::Create {
            kind: self.kind,
            members: self.members,
            title: self.title,
            data: self.data,
        }
    }

    /// Returns a conversation without title and custom data.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub fn plain(kind: ConversationKind, members: Vec<UserId>) -> ConversationSpec {
        ConversationSpec {
            kind,
            members,
            title: None,
            data: None,
        }
    }
}

// === impl ShardClient: invitations ===

impl ShardClient {
    /// Creates a conversation, or returns the one that this `cid` of the user created before. `conv` of the result is
    /// its id.
    pub async fn create(
        &self,
        user: UserId,
        cid: ClientMessageId,
        skip: u64,
        spec: ConversationSpec,
    ) -> Result<CommandAck, CommandError> {
        let kind = spec.kind;
        let conv = match (kind, spec.members.as_slice()) {
            (ConversationKind::Direct, [peer]) => ConversationId::direct(&user, peer),
            // Other than one peer is refused by the state machine, in the shard of any id.
            (ConversationKind::Direct, _) => new_id(kind, self.clock().now_ms()),
            _ => self.reserve(&user, kind, &cid).await?,
        };
        // Either user may write to the other without consent; a block is checked in the direct conversation itself.
        let why = match kind {
            ConversationKind::Direct => None,
            ConversationKind::Group | ConversationKind::Channel => {
                self.declined(&user, &conv, &cid, &spec.members).await?
            }
        };
        let op = match why {
            None => spec.into_op(),
            Some(why) => ConversationOp::NotAdded { who: None, why },
        };
        let origin = CommandOrigin {
            user,
            cid: Some(cid),
            exclude_session: skip,
        };
        self.submit(conv, origin, op).await
    }

    /// Creates a conversation in the name of the system, or returns the one that this `cid` of the system created before.
    /// `owner` becomes the owner. Consents are not requested: a back end acts by the scope of its key.
    pub async fn create_as_system(
        &self,
        cid: ClientMessageId,
        owner: UserId,
        mut spec: ConversationSpec,
    ) -> Result<CommandAck, CommandError> {
        // The state machine makes the first of the members the owner.
        spec.members.insert(0, owner);
        let user = UserId::system();
        let conv = match (spec.kind, spec.members.as_slice()) {
            (ConversationKind::Direct, [one, other]) => ConversationId::direct(one, other),
            (ConversationKind::Direct, _) => new_id(spec.kind, self.clock().now_ms()),
            _ => self.reserve(&user, spec.kind, &cid).await?,
        };
        let origin = CommandOrigin {
            user,
            cid: Some(cid),
            exclude_session: 0,
        };
        self.submit(conv, origin, spec.into_op()).await
    }

    /// Returns the id of the conversation that the `cid` of a user creates. The user's shard maps the `cid` to one id
    /// first: a repeated `create` must not create a second conversation.
    async fn reserve(
        &self,
        user: &UserId,
        kind: ConversationKind,
        cid: &ClientMessageId,
    ) -> Result<ConversationId, CommandError> {
        let op = UserOp::Reserve {
            conversation: new_id(kind, self.clock().now_ms()),
            cid: cid.clone(),
        };
        let user = user.clone();
        match self.submit_command(ShardCommand::User { user, op }).await? {
            AppliedReply::Reserved(conversation) => Ok(conversation),
            _ => Err(AppliedReply::unexpected()),
        }
    }

    /// Adds a user to a conversation, if that user consents. The consent is requested before the command is queued, so
    /// commands submitted behind it may precede it in the log.
    pub async fn invite(
        &self,
        by: UserId,
        conv: ConversationId,
        cid: ClientMessageId,
        skip: u64,
        who: UserId,
    ) -> Result<CommandAck, CommandError> {
        let why = self
            .declined(&by, &conv, &cid, std::slice::from_ref(&who))
            .await?;
        // A declined invitation is proposed too: the log must check the inviter's role and repeat an earlier result of
        // the `cid`.
        let op = match why {
            None => ConversationOp::Invite { who },
            Some(why) => ConversationOp::NotAdded { who: Some(who), why },
        };
        let origin = CommandOrigin {
            user: by,
            cid: Some(cid),
            exclude_session: skip,
        };
        self.submit(conv, origin, op).await
    }
}

/// Creates a new id: random, and ascending by creation time.
fn new_id(kind: ConversationKind, now_ms: u64) -> ConversationId {
    let id = ulid::Ulid::from_parts(now_ms, rand::random());
    let text = format!("{}{id}", kind.prefix());
    ConversationId::parse(&text).expect("a prefix and a ULID are a well-formed id")
}
