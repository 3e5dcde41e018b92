//! Asks those who are to be made members whether they may be, before the change is proposed.

use std::collections::BTreeSet;

use futures::future::join_all;
use protocol::{Cid, ConvId, ErrorCode, Kind, UserId};
use tokio::sync::OnceCell;

use super::{Conversations, ask};
use crate::conversation::answer::Refusal;
use crate::conversation::timeline::consent::verdict;
use crate::conversation::timeline::read::IndexPage;
use crate::conversation::timeline::{Command, Op};
use crate::rpc;
use crate::rpc::read::{IndexAfter, SharedWith};

/// Conversations that are compared in one question.
const COMPARED: u32 = 1_000;

/// Who wants to add, where, and under which key.
struct Adds<'a> {
    by: &'a UserId,
    conv: &'a ConvId,
    cid: &'a Cid,
    /// The groups of `by`, read when first needed.
    groups: OnceCell<Vec<Vec<ConvId>>>,
}

// === impl Conversations ===

impl Conversations {
    /// Asks each of `members` but `by`. Returns why they can't be added, which names those who can't, or `None`.
    ///
    /// # Errors
    /// A temporary refusal if somebody can't be asked: nothing was changed but counts, and the same `cid` counts once.
    pub(super) async fn declined(
        &self,
        by: &UserId,
        conv: &ConvId,
        cid: &Cid,
        members: &[UserId],
    ) -> Result<Option<Box<str>>, Refusal> {
        let adds = Adds {
            by,
            conv,
            cid,
            groups: OnceCell::new(),
        };
        let others: BTreeSet<&UserId> = members.iter().filter(|user| *user != by).collect();
        let asked = others.iter().map(|user| self.consents(&adds, user));
        let mut declined = Vec::new();
        for (user, consents) in others.iter().zip(join_all(asked).await) {
            if !consents? {
                declined.push(user.as_str());
            }
        }
        if declined.is_empty() {
            return Ok(None);
        }
        // The reason stays the user's own: a block is not told from a wish.
        Ok(Some(
            format!("can't be added by you: {}", declined.join(", ")).into(),
        ))
    }

    async fn consents(&self, adds: &Adds<'_>, user: &UserId) -> Result<bool, Refusal> {
        let mut answer = self.may_add(adds, user, None).await?;
        if answer == verdict::SHARED {
            let Some(shared) = self.shared_with(adds, user).await? else {
                return Ok(false);
            };
            answer = self.may_add(adds, user, Some(shared)).await?;
        }
        Ok(answer == verdict::YES)
    }

    async fn may_add(&self, adds: &Adds<'_>, user: &UserId, shared: Option<ConvId>) -> Result<u64, Refusal> {
        let command = Command {
            conv: adds.conv.clone(),
            user: user.clone(),
            cid: None,
            skip: 0,
            op: Op::MayAdd {
                by: adds.by.clone(),
                cid: adds.cid.clone(),
                shared,
                bounds: self.shared.settings.added,
            },
        };
        let done = self.submit(command).await;
        done.map(|done| done.s).map_err(|refusal| match refusal.code {
            // Nobody was added, whatever became of the question.
            ErrorCode::TimeoutUnknown => Refusal::unavailable(),
            _ => refusal,
        })
    }

    /// A group of the one who adds that the user is in too.
    async fn shared_with(&self, adds: &Adds<'_>, user: &UserId) -> Result<Option<ConvId>, Refusal> {
        let pages = adds.groups.get_or_try_init(|| self.groups(adds.by)).await?;
        let cluster = self.shared.cluster().ok_or_else(Refusal::unavailable)?;
        let shard = cluster.shard_of(user.as_str().as_bytes());
        for convs in pages {
            let question = SharedWith {
                user: user.clone(),
                convs: convs.clone(),
            };
            let shared: Option<ConvId> = ask(&self.shared, shard, rpc::SHARED_WITH, &question).await?;
            if shared.is_some() {
                return Ok(shared);
            }
        }
        Ok(None)
    }

    /// The groups that a user is in, by the page.
    async fn groups(&self, user: &UserId) -> Result<Vec<Vec<ConvId>>, Refusal> {
        let cluster = self.shared.cluster().ok_or_else(Refusal::unavailable)?;
        let shard = cluster.shard_of(user.as_str().as_bytes());
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let question = IndexAfter {
                user: user.clone(),
                after,
                limit: COMPARED,
            };
            let page: IndexPage = ask(&self.shared, shard, rpc::INDEX_AFTER, &question).await?;
            let convs = page.items.into_iter().map(|item| item.conv);
            let groups: Vec<_> = convs.filter(|conv| conv.kind() == Some(Kind::Group)).collect();
            if !groups.is_empty() {
                pages.push(groups);
            }
            after = page.next;
            if after.is_none() {
                return Ok(pages);
            }
        }
    }
}
