//! Step 4 of the life of a message: which node owns the conversation, and how the command gets there.
//!
//! Comes from the [session](crate::session)'s publish step (step 3); goes to the owner's [actor](super::publish) (step 5).
//!
//! [`Conversations`] is the handle by which sessions reach conversations, wherever those live. Commands go through one
//! `lane` per shard, in the order of the calls. The lane keeps them until they are answered, sends them again when the
//! owner changes, and gives up after the budget; so a session sees a failover as one slow answer, in order.

mod ask;
mod consent;
mod gather;
mod hold;
pub(crate) mod lane;
pub(crate) mod window;

use std::sync::Arc;

use cluster::{Clock, Cluster, ShardId};
use protocol::message::Messages;
use protocol::{Cid, ConvId, GroupInvite, Kind, UserId};

pub(crate) use ask::ask;

use super::answer::{ConvView, Done, HistoryPage, InboxPage, Refusal, SyncItem};
use super::shared::Shared;
use super::timeline::login::{Keyring, Login};
use super::timeline::read::{BansPage, BlocksPage, IndexPage, MembersPage, Missed, Placed};
use super::timeline::{Command, Op};
use crate::rpc;
use crate::rpc::read::Since;
use crate::user::{Shown, inbox, mentions, presence};

/// What names the keys of the cluster: they are in the shard of this.
pub(crate) const KEYS: &str = "keys";

/// Every conversation of the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Conversations {
    shared: Arc<Shared>,
}

// === impl Conversations ===

impl Conversations {
    pub(crate) fn new(shared: Arc<Shared>) -> Conversations {
        Conversations { shared }
    }

    /// What time it is.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.settings.clock
    }

    /// Puts the command in the lane to its owner before it returns: the order of calls is the order in the log, per
    /// user and conversation. The future resolves once, within the send budget.
    ///
    /// Temporary refusals (`busy`, `unavailable`, `timeout_unknown`) keep that order: what was submitted behind a
    /// refused command of the same user and conversation is refused too, until the refused `cid` comes again or a
    /// second has passed. Commands without a `cid`, the cursors, are neither held back nor hold anything back: they are
    /// gathered for a moment, and those of one user in one conversation go to the log as one.
    pub fn submit(&self, command: Command) -> impl Future<Output = Result<Done, Refusal>> + Send + use<> {
        let shard = self.shared.cluster().map(|cluster| shard_of(cluster, &command));
        self.submit_to(shard, command)
    }

    /// Makes a conversation, or returns the one that this `cid` of the user made before. `conv` of the answer is the
    /// new conversation's id.
    pub async fn create(
        &self,
        user: UserId,
        cid: Cid,
        skip: u64,
        kind: Kind,
        members: Vec<UserId>,
        title: Option<String>,
    ) -> Result<Done, Refusal> {
        let mut conv = match (kind, members.as_slice()) {
            (Kind::Direct, [peer]) => ConvId::direct(&user, peer),
            _ => new_id(kind, self.clock().now_ms()),
        };
        if kind != Kind::Direct {
            let (user, cid) = (user.clone(), Some(cid.clone()));
            conv = self
                .submit(Command {
                    conv,
                    user,
                    cid,
                    skip: 0,
                    op: Op::Reserve,
                })
                .await?
                .conv;
        }
        let why = match kind {
            Kind::Direct => None,
            Kind::Group | Kind::Channel => self.declined(&user, &conv, &cid, &members).await?,
        };
        let op = match why {
            None => Op::Create { kind, members, title },
            Some(why) => Op::NotAdded { who: None, why },
        };
        self.submit(Command {
            conv,
            user,
            cid: Some(cid),
            skip,
            op,
        })
        .await
    }

    /// Brings a user into a conversation, if that user lets `by` do so. Unlike [`Conversations::submit`] it asks before
    /// it puts the command into the lane, so what is submitted behind it may come before it.
    pub async fn invite(
        &self,
        by: UserId,
        conv: ConvId,
        cid: Cid,
        skip: u64,
        who: UserId,
    ) -> Result<Done, Refusal> {
        let why = self
            .declined(&by, &conv, &cid, std::slice::from_ref(&who))
            .await?;
        let op = match why {
            None => Op::Invite { who },
            Some(why) => Op::NotAdded { who: Some(who), why },
        };
        self.submit(Command {
            conv,
            user: by,
            cid: Some(cid),
            skip,
            op,
        })
        .await
    }

    /// The user's own wishes that concern others.
    pub async fn wishes(&self, user: &UserId) -> Result<GroupInvite, Refusal> {
        super::reads::client::wishes(&self.shared, user).await
    }

    /// Sets who may make the user a member of groups and channels.
    pub async fn wish(&self, user: UserId, group_invite: GroupInvite) -> Result<(), Refusal> {
        let command = Command::of_user(user, Op::Wish { group_invite });
        self.submit(command).await.map(|_| ())
    }

    /// The conversation as the member sees it; with `have`, also the events above it.
    pub async fn open(&self, user: &UserId, conv: &ConvId, have: Option<u64>) -> Result<ConvView, Refusal> {
        super::reads::client::open(&self.shared, user, conv, have).await
    }

    /// A page of the log: the newest events below `before`, or the oldest above `after`, or the newest.
    pub async fn history(
        &self,
        user: &UserId,
        conv: &ConvId,
        before: Option<u64>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<HistoryPage, Refusal> {
        super::reads::client::history(&self.shared, user, conv, before, after, limit).await
    }

    /// What the user missed, who has the events up to `after` and was a member there; 0: everything since.
    pub(crate) async fn missed(&self, user: &UserId, conv: &ConvId, after: u64) -> Result<Missed, Refusal> {
        let question = Since {
            conv: conv.clone(),
            user: user.clone(),
            after,
        };
        let cluster = self.shared.cluster().ok_or_else(Refusal::unavailable)?;
        let shard = cluster.shard_of(conv.as_str().as_bytes());
        ask(&self.shared, shard, rpc::MISSED, &question).await
    }

    /// A page of messages as they are now: the newest below `before`, or the oldest above `after`, or the newest.
    pub async fn messages(
        &self,
        user: &UserId,
        conv: &ConvId,
        before: Option<u64>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Messages, Refusal> {
        super::reads::client::messages(&self.shared, user, conv, before, after, limit).await
    }

    /// A page of the members, in the order of their ids, above `after`.
    pub async fn members(
        &self,
        user: &UserId,
        conv: &ConvId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<MembersPage, Refusal> {
        super::reads::client::members(&self.shared, user, conv, after, limit).await
    }

    /// A page of those who are banned, in the order of their ids, above `after`; for owners and admins.
    pub async fn bans(
        &self,
        user: &UserId,
        conv: &ConvId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<BansPage, Refusal> {
        super::reads::client::bans(&self.shared, user, conv, after, limit).await
    }

    /// A page of those whom the user blocks, in the order of their ids, above `after`. A block shows up here shortly
    /// after it is in force.
    pub async fn blocks(
        &self,
        user: &UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<BlocksPage, Refusal> {
        super::reads::client::blocks(&self.shared, user, after, limit).await
    }

    /// What the user missed in each conversation, in the order asked for; one request per owner. Conversations that
    /// the user is no member of are left out, and so are those whose owner can't be reached: the caller asks again
    /// for what it doesn't find.
    pub async fn sync(&self, user: &UserId, wants: Vec<(ConvId, u64)>) -> Vec<SyncItem> {
        super::reads::client::sync(&self.shared, user, wants).await
    }

    /// A page of the user's conversations, the latest message first; rows whose owner can't be reached are `stale`.
    pub async fn inbox(
        &self,
        user: &UserId,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<InboxPage, Refusal> {
        let mut page = inbox::page(&self.shared, user, cursor, limit).await?;
        mentions::without_blocked(&self.shared, user, &mut page.items).await;
        Ok(page)
    }

    /// The user's conversations with the latest messages, behind a place; as the user's shard knows them.
    pub async fn latest(
        &self,
        user: &UserId,
        from: Option<(u64, ConvId)>,
        limit: usize,
    ) -> Result<Vec<Placed>, Refusal> {
        inbox::latest(&self.shared, user, from, limit).await
    }

    /// The user's conversations above `after` in the order of their ids.
    pub async fn index(
        &self,
        user: &UserId,
        after: Option<ConvId>,
        limit: usize,
    ) -> Result<IndexPage, Refusal> {
        inbox::by_id(&self.shared, user, after, limit).await
    }

    /// How a user stands, as `viewer` may know it; one whom the user blocks sees nobody come.
    pub async fn presence(&self, viewer: &UserId, user: &UserId) -> Result<Shown, Refusal> {
        presence::presence(&self.shared, viewer, user).await
    }

    /// Shows the members of a conversation that the user types, or has stopped. Nobody says whether that arrived; a
    /// stranger's notice, for one, doesn't.
    pub fn typing(&self, user: &UserId, conv: &ConvId, on: bool) {
        super::typing::tell(&self.shared, user.clone(), conv.clone(), on);
    }

    /// Whether each user has a connected session on any node at this moment, in the order asked; `None` where that
    /// can't be found out now. A session whose connection is gone doesn't count, although it may be resumed.
    pub async fn live(&self, users: &[UserId]) -> Vec<Option<bool>> {
        presence::live(&self.shared, users).await
    }

    /// Takes a step of a login; `s` of the answer is the [verdict](super::timeline::login::verdict).
    pub(crate) fn login(
        &self,
        name: ConvId,
        cid: Option<Cid>,
        login: Login,
    ) -> impl Future<Output = Result<Done, Refusal>> + Send + use<> {
        self.submit(Command::login(name, cid, login))
    }

    /// The keys of the cluster, if any were made.
    pub(crate) async fn keyring(&self) -> Result<Option<Keyring>, Refusal> {
        let cluster = self.shared.cluster().ok_or_else(Refusal::unavailable)?;
        ask(
            &self.shared,
            cluster.shard_of(KEYS.as_bytes()),
            crate::rpc::KEYS,
            &(),
        )
        .await
    }

    /// Submits to a shard that the command doesn't name.
    pub(crate) fn submit_to(
        &self,
        shard: Option<ShardId>,
        command: Command,
    ) -> impl Future<Output = Result<Done, Refusal>> + Send + use<> {
        let lane = shard.and_then(|shard| self.shared.lane(shard));
        let ticket = match lane {
            Some(lane) => lane.push(command, &self.shared),
            None => Err(Refusal::unavailable()),
        };
        async move {
            match ticket {
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(Refusal::unknown())),
                Err(refusal) => Err(refusal),
            }
        }
    }
}

/// The shard that decides the command.
fn shard_of(cluster: &Cluster, command: &Command) -> ShardId {
    match command.op {
        Op::Reserve
        | Op::IndexPut { .. }
        | Op::BlockPut { .. }
        | Op::Seen { .. }
        | Op::MayAdd { .. }
        | Op::Wish { .. } => cluster.shard_of(command.user.as_str().as_bytes()),
        _ => cluster.shard_of(command.conv.as_str().as_bytes()),
    }
}

/// A new id: random, and ascending by the time of its making.
fn new_id(kind: Kind, now_ms: u64) -> ConvId {
    let id = ulid::Ulid::from_parts(now_ms, rand::random());
    let text = format!("{}{id}", kind.prefix());
    ConvId::parse(&text).expect("a prefix and a ULID are a well-formed id")
}
