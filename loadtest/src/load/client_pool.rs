//! Pool of all clients of a run: connects them, sets up the conversations of the plan, and distributes the pace.
//!
//! After the load it waits for every message and reads all logs again, so that the oracle's verdict covers everything.

mod set_up;
mod verify;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use protocol::ConversationId;

use super::SharedRun;
use super::client::{self, ClientHandle, HarnessCommand};

use crate::clock::Nanos;
use crate::oracle::ConvIx;
use crate::pacing::LoadPace;
use crate::payload::ClientIx;
use crate::spec::{ClientBehavior, ClientSlice, STEADY, ScenarioPlan};

/// Clients of this process, online and in their conversations.
pub(crate) struct ClientPool {
    common: Rc<SharedRun>,
    handles: Vec<ClientHandle>,
    plan: ScenarioPlan,
    seed: u64,
    /// Names and oracle indexes, in the order of the plan.
    conversations: Vec<(ConversationId, ConvIx)>,
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
            true => client::spawn(me, plan.wire(me), common.clone(), me as usize % nodes, seed),
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

    /// Returns the number of this process's clients.
    pub(crate) fn own(&self) -> usize {
        (0..self.plan.clients)
            .filter(|client| self.share.owns(*client))
            .count()
    }

    /// Returns the id of the first conversation; `None` for a plan without any.
    pub(crate) fn first(&self) -> Option<&ConversationId> {
        self.conversations.first().map(|(name, _)| name)
    }

    pub(crate) fn conversations(&self) -> &[(ConversationId, ConvIx)] {
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

    /// Makes every client drop its connection.
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

    /// Tells every client to end.
    pub(crate) fn quit(&self) {
        self.handles
            .iter()
            .for_each(|handle| handle.send(HarnessCommand::Quit));
    }
}

/// Runs all steps, some of them concurrently. `None` if one of them failed.
async fn all<F: Future<Output = Option<()>>>(steps: impl Iterator<Item = F>) -> Option<()> {
    let done: Vec<_> = stream::iter(steps)
        .buffer_unordered(SET_UP_AT_ONCE)
        .collect()
        .await;
    done.into_iter().collect()
}
