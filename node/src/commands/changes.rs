//! What changes something: from the command of the protocol to the operation that the log decides. Pure, but for
//! [`create`].

use futures::future::Either;
use protocol::answer;
use protocol::command::{ActOn, Create, Edit, Me, React, Send, SetRole, Target};
use protocol::{Body, Cid, Command, ConvId, ErrorCode, Kind, UserId};

use crate::conversation::timeline::{self, Op};
use crate::conversation::{Conversations, Done, Refusal};

/// A change of one conversation.
#[derive(Clone, Debug)]
pub struct Change {
    /// The conversation.
    pub conv: ConvId,
    /// The idempotency key; cursors have none.
    pub cid: Option<Cid>,
    /// What is to be done.
    pub op: Op,
}

// === impl Change ===

impl Change {
    /// `send`, with a body of at most `body_bytes`.
    ///
    /// # Errors
    /// A body over the node's limit.
    pub fn send(user: &UserId, send: Send, body_bytes: usize) -> Result<Change, Refusal> {
        let (conv, direct) = match send.target() {
            Some(Target::Conv(conv)) => (conv.clone(), None),
            Some(Target::User(to)) => (ConvId::direct(user, to), Some(to.clone())),
            None => {
                let msg = "exactly one of c and to must be given";
                return Err(Refusal::new(ErrorCode::BadRequest, msg));
            }
        };
        fits(&send.b, body_bytes)?;
        let op = Op::Send {
            direct,
            body: send.b.as_str().into(),
            reply_to: send.reply_to,
            mentions: send.mentions,
        };
        Ok(Change {
            conv,
            cid: Some(send.cid),
            op,
        })
    }

    /// `edit`, with a body of at most `body_bytes`.
    ///
    /// # Errors
    /// A body over the node's limit.
    pub fn edit(edit: Edit, body_bytes: usize) -> Result<Change, Refusal> {
        let Edit {
            c,
            of,
            cid,
            b,
            mentions,
        } = edit;
        fits(&b, body_bytes)?;
        let body = b.as_str().into();
        Ok(Change {
            conv: c,
            cid: Some(cid),
            op: Op::Edit { of, body, mentions },
        })
    }

    /// Every other change of one conversation. `None`: `send`, `edit`, `create`, [`block`](Change::block), and what
    /// changes no conversation.
    #[must_use]
    pub fn of(command: Command) -> Option<Change> {
        let (conv, cid, op) = match command {
            Command::Invite(ActOn { c, cid, who }) => (c, Some(cid), Op::Invite { who }),
            Command::Kick(ActOn { c, cid, who }) => (c, Some(cid), Op::Kick { who }),
            Command::Ban(ActOn { c, cid, who }) => (c, Some(cid), Op::Ban { who }),
            Command::Unban(ActOn { c, cid, who }) => (c, Some(cid), Op::Unban { who }),
            Command::Role(SetRole { c, cid, who, role }) => (c, Some(cid), Op::SetRole { who, role }),
            Command::Join(join) => (join.c, Some(join.cid), Op::Join),
            Command::Set(set) => {
                let op = Op::Set {
                    title: set.title,
                    history: set.history,
                    muted: set.muted,
                    pinned: set.pinned,
                };
                (set.c, Some(set.cid), op)
            }
            Command::Leave(leave) => (leave.c, Some(leave.cid), Op::Leave),
            Command::Del(del) => (del.c, Some(del.cid), Op::Delete { of: del.of }),
            Command::React(React {
                c,
                of,
                cid,
                k,
                on,
                who,
            }) => {
                let k = k.into();
                (c, Some(cid), Op::React { of, k, on, who })
            }
            Command::Read(cursor) => (cursor.c, None, Op::Read { s: cursor.s }),
            Command::Recv(cursor) => (cursor.c, None, Op::Delivered { s: cursor.s }),
            _ => return None,
        };
        Some(Change { conv, cid, op })
    }

    /// `block` and `unblock`: a change of the direct conversation of the two, whether or not it exists.
    #[must_use]
    pub fn block(user: &UserId, who: UserId, on: bool) -> Change {
        Change {
            conv: ConvId::direct(user, &who),
            cid: None,
            op: Op::Block { who, on },
        }
    }

    /// Puts the change in the lane to its owner before it returns, see [`Conversations::submit`]; but for an invitation,
    /// which is asked about first, see [`Conversations::invite`]. The session tagged `skip` gets no event of it; 0 is none.
    pub fn submit(
        self,
        conversations: &Conversations,
        user: UserId,
        skip: u64,
    ) -> impl Future<Output = Result<Done, Refusal>> + std::marker::Send + use<> {
        let Change { conv, cid, op } = self;
        match (op, cid) {
            (Op::Invite { who }, Some(cid)) => {
                let conversations = conversations.clone();
                Either::Left(async move { conversations.invite(user, conv, cid, skip, who).await })
            }
            (op, cid) => Either::Right(conversations.submit(timeline::Command {
                conv,
                user,
                cid,
                skip,
                op,
            })),
        }
    }
}

/// `me`.
///
/// # Errors
/// The refusal of the user's shard.
pub async fn me(conversations: &Conversations, user: UserId, me: Me) -> Result<answer::Me, Refusal> {
    let group_invite = match me.group_invite {
        Some(group_invite) => {
            conversations.wish(user.clone(), group_invite).await?;
            group_invite
        }
        None => conversations.wishes(&user).await?,
    };
    Ok(answer::Me {
        u: user,
        group_invite,
    })
}

fn fits(b: &Body, body_bytes: usize) -> Result<(), Refusal> {
    if b.as_str().len() > body_bytes {
        return Err(Refusal::new(
            ErrorCode::TooLarge,
            format!("b is over {body_bytes} bytes"),
        ));
    }
    Ok(())
}

/// `create`.
///
/// # Errors
/// The owner's refusal, or a direct conversation with other than one other member.
pub async fn create(conversations: &Conversations, user: UserId, create: Create) -> Result<Done, Refusal> {
    let Create {
        kind,
        cid,
        members,
        title,
    } = create;
    if kind == Kind::Direct && members.len() != 1 {
        let msg = "a direct conversation is with exactly one user";
        return Err(Refusal::new(ErrorCode::BadRequest, msg));
    }
    // As with `set`: an empty title is none.
    let title = title.filter(|title| !title.is_empty());
    conversations.create(user, cid, 0, kind, members, title).await
}
