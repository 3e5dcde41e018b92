//! Consent: requests the permission of the users to be added, before the change is proposed.

use std::collections::BTreeSet;

use futures::future::join_all;
use protocol::{ClientMessageId, ConversationId, ConversationKind, ErrorCode, UserId};
use tokio::sync::OnceCell;

use super::ShardClient;
use super::command_error::CommandError;
use crate::rpc::submit::AppliedReply;
use crate::state_machine::query::{IndexAfter, SharedWith};
use crate::state_machine::{AdditionVerdict, ShardCommand, UserOp};

/// Conversations compared in one query.
const COMPARED: u32 = 1_000;

/// Addition of users: by whom, to which conversation, under which key.
struct AdditionRates<'a> {
    by: &'a UserId,
    conv: &'a ConversationId,
    cid: &'a ClientMessageId,
    /// Groups of `by`, one page each; read at the first need.
    groups: OnceCell<Vec<Vec<ConversationId>>>,
}

// === impl ShardClient ===

impl ShardClient {
    /// Requests the consent of each of `members` except `by`. Returns the reason for a refusal, which names the
    /// declining users, or `None`.
    ///
    /// # Errors
    /// A temporary refusal if a user's shard can't be reached. Only counters may have changed, and the same `cid`
    /// counts once.
    pub(super) async fn declined(
        &self,
        by: &UserId,
        conv: &ConversationId,
        cid: &ClientMessageId,
        members: &[UserId],
    ) -> Result<Option<Box<str>>, CommandError> {
        let adds = AdditionRates {
            by,
            conv,
            cid,
            groups: OnceCell::new(),
        };
        // Sorted and unique, so that a repetition yields the same text and counts each user once.
        let others: BTreeSet<&UserId> = members.iter().filter(|user| *user != by).collect();
        // Concurrent, so that a `create` with many members takes one round trip (decision 18).
        let asked = others.iter().map(|user| self.consents(&adds, user));
        let mut declined = Vec::new();
        for (user, consents) in others.iter().zip(join_all(asked).await) {
            // One unreachable shard fails the whole change: it needs every consent.
            if !consents? {
                declined.push(user.as_str());
            }
        }
        if declined.is_empty() {
            return Ok(None);
        }
        // The text gives no reason, so that a block cannot be distinguished from a setting.
        Ok(Some(
            format!(
                "these users do not accept being added by you: {}",
                declined.join(", ")
            )
            .into(),
        ))
    }

    async fn consents(&self, adds: &AdditionRates<'_>, user: &UserId) -> Result<bool, CommandError> {
        let mut answer = self.may_add(adds, user, None).await?;
        // The user's shard has no rows about the groups of `by`: a shared one is searched here and then proved there.
        if answer == AdditionVerdict::SharedOnly {
            let Some(shared) = self.shared_with(adds, user).await? else {
                return Ok(false);
            };
            answer = self.may_add(adds, user, Some(shared)).await?;
        }
        Ok(answer == AdditionVerdict::Allowed)
    }

    async fn may_add(
        &self,
        adds: &AdditionRates<'_>,
        user: &UserId,
        shared: Option<ConversationId>,
    ) -> Result<AdditionVerdict, CommandError> {
        let command = ShardCommand::User {
            user: user.clone(),
            op: UserOp::MayAdd {
                by: adds.by.clone(),
                conversation: adds.conv.clone(),
                cid: adds.cid.clone(),
                shared,
                bounds: self.shared.settings.added,
            },
        };
        match self.submit_command(command).await {
            Ok(AppliedReply::Addition(verdict)) => Ok(verdict),
            Ok(_) => Err(AppliedReply::unexpected()),
            // The addition was not proposed, so the outcome of the question does not matter.
            Err(refusal) if refusal.code == ErrorCode::TimeoutUnknown => Err(CommandError::unavailable()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Returns a group that both users are members of.
    async fn shared_with(
        &self,
        adds: &AdditionRates<'_>,
        user: &UserId,
    ) -> Result<Option<ConversationId>, CommandError> {
        let pages = adds.groups.get_or_try_init(|| self.groups(adds.by)).await?;
        for convs in pages {
            let question = SharedWith {
                user: user.clone(),
                convs: convs.clone(),
            };
            let shared = self.query(&question).await?;
            if shared.is_some() {
                return Ok(shared);
            }
        }
        Ok(None)
    }

    /// Returns the groups that a user is a member of, in pages of at most `COMPARED`.
    async fn groups(&self, user: &UserId) -> Result<Vec<Vec<ConversationId>>, CommandError> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let question = IndexAfter {
                user: user.clone(),
                after,
                limit: COMPARED,
            };
            let page = self.query(&question).await?;
            // Anybody may begin a direct conversation or join a channel; as proof of a relation they would be
            // worthless.
            let convs = page.items.into_iter().map(|item| item.conv);
            let groups: Vec<_> = convs
                .filter(|conv| conv.kind() == Some(ConversationKind::Group))
                .collect();
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
