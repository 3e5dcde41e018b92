//! Pool of all clients of a run: connects them, sets up the conversations of the plan, and distributes the pace.
//!
//! After the load it waits for every message and reads all logs again, so that the oracle's verdict covers everything.

mod verify;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use tokio::sync::oneshot;

use crate::client::{self, ClientBehavior, ClientHandle, HarnessCommand, MembershipCommand, SharedRun};
use crate::clock::Nanos;
use crate::distributed::ClientSlice;
use crate::oracle::ConvIx;
use crate::pacing::LoadPace;
use crate::payload::ClientIx;
use crate::run::STEADY;
use crate::scenario::{PlannedConversation, ScenarioPlan};

/// Clients of this process, online and in their conversations.
pub(crate) struct ClientPool {
    common: Rc<SharedRun>,
    handles: Vec<ClientHandle>,
    plan: ScenarioPlan,
    seed: u64,
    /// Names and oracle indexes, in the order of the plan.
    conversations: Vec<(String, ConvIx)>,
    share: ClientSlice,
}

/// Error of the setup of the clients.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("only {online} of {wanted} clients were online after {waited:?}; last: {last}")]
    Offline {
        online: usize,
        wanted: usize,
        waited: Duration,
        last: String,
    },
    #[error("only {done} of {wanted} conversations were set up after {waited:?}; last: {last}")]
    Unfinished {
        done: usize,
        wanted: usize,
        waited: Duration,
        last: String,
    },
}

/// Maximum number of clients that make probe reads.
const READERS: usize = 256;
/// Maximum number of conversations that are set up concurrently.
const SET_UP_AT_ONCE: usize = 32;

// === impl ClientPool ===

impl ClientPool {
    /// Connects the plan's clients, evenly distributed over the nodes, and sets up the conversations.
    pub(crate) async fn assemble(
        common: Rc<SharedRun>,
        plan: ScenarioPlan,
        seed: u64,
        patience: Duration,
    ) -> Result<ClientPool, Error> {
        let mut pool = ClientPool::connect(common, plan, seed, ClientSlice::ALL, patience).await?;
        let names = pool.create(patience).await?;
        pool.enter(names.into_iter().map(|(_, name)| name).collect(), patience)
            .await?;
        Ok(pool)
    }

    /// Connects the clients of this process's slice.
    pub(crate) async fn connect(
        common: Rc<SharedRun>,
        plan: ScenarioPlan,
        seed: u64,
        share: ClientSlice,
        patience: Duration,
    ) -> Result<ClientPool, Error> {
        let began = Instant::now();
        let nodes = common.nodes.borrow().len().max(1);
        let handle = |me| match share.owns(me) {
            true => client::spawn(me, common.clone(), me as usize % nodes, seed),
            false => ClientHandle::elsewhere(),
        };
        let pool = ClientPool {
            handles: (0..plan.clients).map(handle).collect(),
            common: common.clone(),
            plan,
            seed,
            share,
            conversations: Vec::new(),
        };
        let wanted = pool.own();
        while common.online.get() < wanted {
            if began.elapsed() > patience {
                return Err(Error::Offline {
                    online: common.online.get(),
                    wanted,
                    waited: patience,
                    last: pool.last_line(),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(pool)
    }

    /// Creates the conversations whose first member belongs to this process, with their members. Returns names by index
    /// in the plan.
    pub(crate) async fn create(&self, patience: Duration) -> Result<Vec<(u32, String)>, Error> {
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
    pub(crate) async fn enter(&mut self, names: Vec<String>, patience: Duration) -> Result<(), Error> {
        let mut conversations = Vec::new();
        for (name, planned) in names.into_iter().zip(&self.plan.conversations) {
            let oracle = &mut self.common.context.borrow_mut().oracle;
            let conv = oracle.conversation(&name);
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

    /// Returns the number of this process's clients.
    pub(crate) fn own(&self) -> usize {
        (0..self.plan.clients)
            .filter(|client| self.share.owns(*client))
            .count()
    }

    /// Returns `true` if the first member, who creates the conversation, belongs to this process.
    fn creates(&self, planned: &PlannedConversation) -> bool {
        planned
            .members
            .first()
            .is_some_and(|first| self.share.owns(*first))
    }

    fn last_line(&self) -> String {
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

    async fn make(&self, number: u32, planned: &PlannedConversation) -> Option<String> {
        let user = |client: &u32| self.common.context.borrow().payload.user(*client);
        let creator = &self.handles[*planned.members.first()? as usize];
        let others: Vec<String> = planned.members[1..].iter().map(user).collect();
        // Channels have no invitations: members join by themselves, and some get the right to send afterwards.
        let comes = planned.kind == "channel";
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
    async fn come_and_go(&self, client: ClientIx, name: &str) -> Option<()> {
        let nodes = self.common.nodes.borrow().len().max(1);
        let handle = client::spawn(client, self.common.clone(), client as usize % nodes, self.seed);
        let came = change_membership(&handle, name, MembershipCommand::Join).await;
        handle.send(HarnessCommand::Quit);
        came
    }

    async fn join(&self, client: &ClientHandle, name: &str, conv: ConvIx, speak: bool) -> Option<()> {
        let (reply, joined) = oneshot::channel();
        client.send(HarnessCommand::Join {
            name: name.to_owned(),
            conv,
            speak,
            reply,
        });
        joined.await.ok()
    }

    /// Removes a member through the conversation's first member, and waits for the acknowledgement.
    pub(crate) async fn kick(&self, number: usize, member: ClientIx) {
        let first = self.plan.conversations[number].members[0];
        let who = self.common.context.borrow().payload.user(member);
        let by = &self.handles[first as usize];
        // The reply is missing only if the whole run ends.
        let _ = change_membership(by, &self.conversations[number].0, MembershipCommand::Kick(who)).await;
    }

    /// Returns the name of the first conversation.
    pub(crate) fn first(&self) -> &str {
        self.conversations.first().map_or("", |(name, _)| name.as_str())
    }

    pub(crate) fn conversations(&self) -> &[(String, ConvIx)] {
        &self.conversations
    }

    pub(crate) fn handles(&self) -> &[ClientHandle] {
        &self.handles
    }

    /// Starts the load and returns the start time. With `steady`, the whole load is one measured phase.
    pub(crate) fn begin(&self, pace: &LoadPace, steady: bool) -> Nanos {
        let began = {
            let context = &mut *self.common.context.borrow_mut();
            let now = context.clock.now();
            if steady {
                context.recorder.phase(STEADY, now);
            }
            now
        };
        self.pace(pace);
        began
    }

    /// Runs the oracle's final checks and ends the clients.
    pub(crate) fn finish(&self) {
        let context = &mut *self.common.context.borrow_mut();
        let oracle = &mut context.oracle;
        oracle.tick(context.clock.now());
        // A violation has ended the run early. The final checks would report messages that only had no time to arrive.
        if oracle.counts().violations == 0 {
            oracle.finish();
        }
        self.quit();
    }

    /// Sends each speaker its share of the pace, and sets the rate of the probe reads.
    pub(crate) fn pace(&self, pace: &LoadPace) {
        self.probe(match pace {
            LoadPace::Silent => 0.0,
            _ => self.common.reads.get(),
        });
        for (speaker, share) in self.plan.speakers() {
            self.handles[speaker as usize].send(HarnessCommand::Pace {
                pace: pace.clone(),
                share,
            });
        }
    }

    /// Distributes `reads` probe reads per second over some members.
    fn probe(&self, reads: f64) {
        let members = self
            .plan
            .conversations
            .iter()
            .flat_map(|planned| &planned.members);
        let own = members.filter(|member| self.share.owns(**member));
        // Sorted and without duplicates: the choice of the readers is the same in every run.
        let readers: BTreeSet<ClientIx> = own.copied().collect();
        // Evenly spread over the members, so that many nodes and conversations are read.
        let some = readers.iter().step_by(readers.len().div_ceil(READERS).max(1));
        let each = reads / some.len().max(1) as f64;
        for reader in some {
            self.handles[*reader as usize].send(HarnessCommand::Probe(each));
        }
    }

    /// Starts the behaviors of the clients.
    pub(crate) fn behave(&self) {
        for (client, behavior) in &self.plan.behaviors {
            self.handles[*client as usize].send(HarnessCommand::Behave(*behavior));
        }
    }

    /// Ends all behaviors: every client stays connected and reads.
    pub(crate) fn stop_behaviors(&self) {
        for client in self.plan.behaviors.keys() {
            self.handles[*client as usize].send(HarnessCommand::Behave(ClientBehavior::default()));
        }
    }

    /// Drops the connection of every client.
    pub(crate) fn cut(&self) {
        self.handles
            .iter()
            .for_each(|handle| handle.send(HarnessCommand::Cut));
    }

    /// Returns the conversations that also have members in other processes.
    pub(crate) fn shared(&self) -> Vec<ConvIx> {
        let planned = self.plan.conversations.iter().zip(&self.conversations);
        let own = |member: &u32| self.share.owns(*member);
        let shared = planned.filter(|(planned, _)| {
            planned.members.iter().any(own) && self.share.seen_by(&planned.members).len() > 1
        });
        shared.map(|(_, (_, conv))| *conv).collect()
    }

    /// Ends every client of the pool.
    pub(crate) fn quit(&self) {
        self.handles
            .iter()
            .for_each(|handle| handle.send(HarnessCommand::Quit));
    }
}

/// Changes a membership through the client `by`. Returns `None` if the client has ended.
async fn change_membership(by: &ClientHandle, name: &str, change: MembershipCommand) -> Option<()> {
    let (reply, done) = oneshot::channel();
    by.send(HarnessCommand::Membership {
        name: name.to_owned(),
        change,
        reply,
    });
    done.await.ok()
}

/// Runs all steps, some of them concurrently. `None` if one of them failed.
async fn all<F: Future<Output = Option<()>>>(steps: impl Iterator<Item = F>) -> Option<()> {
    let done: Vec<_> = stream::iter(steps)
        .buffer_unordered(SET_UP_AT_ONCE)
        .collect()
        .await;
    done.into_iter().collect()
}
