//! Setup of the conversations of a plan, and changes of their members.

use std::time::Duration;

use futures::{StreamExt, stream};
use protocol::{ConversationId, ConversationKind, UserId};
use tokio::sync::oneshot;

use super::{ClientPool, Error, SET_UP_AT_ONCE, all};
use crate::load::client::{self, ClientHandle, HarnessCommand, MembershipCommand};
use crate::oracle::ConvIx;
use crate::payload::ClientIx;
use crate::spec::PlannedConversation;

// === impl ClientPool: setup ===

impl ClientPool {
    /// Creates the conversations whose first member belongs to this process, with their members. Returns names by index
    /// in the plan.
    pub(crate) async fn create(&self, patience: Duration) -> Result<Vec<(u32, ConversationId)>, Error> {
        let planned = (0..).zip(&self.plan.conversations);
        let own = planned.filter(|(_, planned)| self.creates(planned));
        let wanted = own.clone().count();
        let made = own.map(|(number, planned)| async move {
            let name = self.make(number, planned).await?;
            Some((number, name))
        });
        // `buffered` keeps the order, so that the names match the plan.
        let made = stream::iter(made).buffered(SET_UP_AT_ONCE).collect::<Vec<_>>();
        self.all(wanted, patience, made).await
    }

    /// Adds this process's clients to all conversations, which are given in the order of the plan.
    pub(crate) async fn enter(
        &mut self,
        names: Vec<ConversationId>,
        patience: Duration,
    ) -> Result<(), Error> {
        let mut conversations = Vec::new();
        for (name, planned) in names.into_iter().zip(&self.plan.conversations) {
            let oracle = &mut self.common.context.borrow_mut().oracle;
            let conv = oracle.conversation(name.as_str());
            // Only conversations with members in several processes are compared by the coordinator.
            if self.share.seen_by(&planned.members).len() > 1 {
                oracle.report(conv);
            }
            conversations.push((name, conv));
        }
        self.conversations = conversations;
        // Reborrowed as shared, because all futures below hold it.
        let pool = &*self;
        let mut joins = Vec::new();
        for (planned, (name, conv)) in pool.plan.conversations.iter().zip(&pool.conversations) {
            let members = planned.members.iter().enumerate();
            for (position, member) in members.filter(|(_, member)| pool.share.owns(**member)) {
                let handle = &pool.handles[*member as usize];
                joins.push(pool.join(handle, name, *conv, position < planned.speakers));
            }
        }
        let wanted = joins.len();
        let joined = stream::iter(joins).buffer_unordered(4 * SET_UP_AT_ONCE);
        pool.all(wanted, patience, joined.collect::<Vec<_>>()).await?;
        Ok(())
    }

    async fn all<T>(
        &self,
        wanted: usize,
        patience: Duration,
        made: impl Future<Output = Vec<Option<T>>>,
    ) -> Result<Vec<T>, Error> {
        // A timeout discards the partial results, so the error then reports none as done.
        let made = tokio::time::timeout(patience, made).await.unwrap_or_default();
        let made: Vec<T> = made.into_iter().flatten().collect();
        if made.len() < wanted {
            return Err(Error::Unfinished {
                done: made.len(),
                wanted,
                waited: patience,
                last: self.last_line(),
            });
        }
        Ok(made)
    }

    /// Returns `true` if the first member, who creates the conversation, belongs to this process.
    pub(super) fn creates(&self, planned: &PlannedConversation) -> bool {
        planned
            .members
            .first()
            .is_some_and(|first| self.share.owns(*first))
    }

    async fn make(&self, number: u32, planned: &PlannedConversation) -> Option<ConversationId> {
        let user = |client: &u32| self.common.context.borrow().payload.user_id(*client);
        let creator = &self.handles[*planned.members.first()? as usize];
        let others: Vec<UserId> = planned.members[1..].iter().map(user).collect();
        // Channels have no invitations: members join by themselves, and some get the right to send afterwards.
        let comes = planned.kind == ConversationKind::Channel;
        let at_once = if comes {
            0
        } else {
            protocol::limits::MEMBERS_AT_CREATE
        };
        let (now, later) = others.split_at(others.len().min(at_once));
        let (reply, name) = oneshot::channel();
        // A fixed client message id: a retry after a lost response does not create a second conversation.
        let cid = format!("create-{}-{number}", user(&planned.members[0]));
        creator.send(HarnessCommand::Create {
            kind: planned.kind,
            cid,
            members: now.to_vec(),
            reply,
        });
        let name = name.await.ok()?;
        if comes {
            let members = planned.members[1..].iter();
            let come = members.map(|member| {
                change_membership(&self.handles[*member as usize], &name, MembershipCommand::Join)
            });
            all(come).await?;
            all(self
                .absent(number as usize)
                .map(|client| self.come_and_go(client, &name)))
            .await?;
            // After the joins: a role change for a user who is no member would be refused.
            for who in others.iter().take(planned.speakers.saturating_sub(1)) {
                change_membership(creator, &name, MembershipCommand::Speaker(who.clone())).await?;
            }
        } else {
            for who in later {
                change_membership(creator, &name, MembershipCommand::Invite(who.clone())).await?;
            }
        }
        Some(name)
    }

    /// Returns the client indexes of a conversation's members who are not connected. They follow those of the clients.
    fn absent(&self, number: usize) -> std::ops::Range<ClientIx> {
        let before = &self.plan.conversations[..number];
        let first = self.plan.clients + before.iter().map(|planned| planned.absent).sum::<u32>();
        first..first + self.plan.conversations[number].absent
    }

    /// Connects a member, joins the channel and disconnects again.
    async fn come_and_go(&self, client: ClientIx, name: &ConversationId) -> Option<()> {
        let nodes = self.common.nodes.borrow().len().max(1);
        let wire = self.plan.wire(client);
        let handle = client::spawn(
            client,
            wire,
            self.common.clone(),
            client as usize % nodes,
            self.seed,
        );
        let came = change_membership(&handle, name, MembershipCommand::Join).await;
        handle.send(HarnessCommand::Quit);
        came
    }

    async fn join(
        &self,
        client: &ClientHandle,
        name: &ConversationId,
        conv: ConvIx,
        speak: bool,
    ) -> Option<()> {
        let (reply, joined) = oneshot::channel();
        client.send(HarnessCommand::Join {
            name: name.clone(),
            conv,
            speak,
            reply,
        });
        joined.await.ok()
    }

    pub(super) fn last_line(&self) -> String {
        self.common
            .context
            .borrow()
            .oracle
            .history()
            .lines()
            .next_back()
            .cloned()
            .unwrap_or_default()
    }

    /// Removes a member through the conversation's first member, and waits for the acknowledgement.
    pub(crate) async fn kick(&self, number: usize, member: ClientIx) {
        let first = self.plan.conversations[number].members[0];
        let who = self.common.context.borrow().payload.user_id(member);
        let by = &self.handles[first as usize];
        // The reply is missing only if the whole run ends.
        let _ = change_membership(by, &self.conversations[number].0, MembershipCommand::Kick(who)).await;
    }
}

/// Changes a membership through the client `by`. Returns `None` if the client has ended.
async fn change_membership(
    by: &ClientHandle,
    name: &ConversationId,
    change: MembershipCommand,
) -> Option<()> {
    let (reply, done) = oneshot::channel();
    by.send(HarnessCommand::Membership {
        name: name.clone(),
        change,
        reply,
    });
    done.await.ok()
}
