//! MQTT 3.1.1 at QoS 1 as a second wire, so that the same plan, pace, histograms and report compare any broker with
//! Rookery. A conversation is a topic, its members are persistent sessions that subscribe to it, its speakers publish;
//! send to ack is PUBLISH to PUBACK.
//!
//! The oracle judges what MQTT promises there, and no more ([`judge`]): what was acked reaches every subscriber at
//! least once. A double is counted, not a violation, and there is no common order to compare.

mod client;
mod judge;
mod session;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::client::Client;
use self::judge::Judge;
use crate::client::Common;
use crate::clock::Nanos;
use crate::oracle::{ConvIx, Kind};
use crate::pacing::Pace;
use crate::payload::ClientIx;
use crate::run::STEADY;
use crate::scenario::Plan;

/// All clients of a run against a broker.
pub(crate) struct Fleet {
    common: Rc<Common>,
    judge: Rc<RefCell<Judge>>,
    plan: Plan,
    clients: Vec<(mpsc::UnboundedSender<Command>, JoinHandle<()>)>,
}

/// What a client is told.
enum Command {
    /// Send at this pace from now on. `share` is the part of an open loop's rate that is this client's.
    Pace { pace: Pace, share: f64 },
    /// Say how many messages are still unanswered.
    Unanswered(oneshot::Sender<usize>),
    /// Leave nothing behind at the broker, and end.
    Quit,
}

/// A topic to which a client subscribes.
#[derive(Clone, Debug)]
struct Place {
    conv: ConvIx,
    topic: Rc<str>,
    /// Publishes there, too.
    speaks: bool,
}

/// Why there is no fleet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("only {online} of {wanted} clients were connected and subscribed after {waited:?}; last: {last}")]
    Offline {
        online: usize,
        wanted: usize,
        waited: Duration,
        last: String,
    },
}

/// How long all clients may take to take their leave.
const LEAVE: Duration = Duration::from_secs(20);

// === impl Fleet ===

impl Fleet {
    /// Connects the plan's clients, and has each subscribe to the topics of its conversations.
    pub(crate) async fn assemble(
        common: Rc<Common>,
        plan: Plan,
        seed: u64,
        patience: Duration,
    ) -> Result<Fleet, Error> {
        let run = common.world.borrow().payload.run();
        let mut places: Vec<Vec<Place>> = vec![Vec::new(); plan.clients as usize];
        for (conv, planned) in (0..).zip(&plan.conversations) {
            let topic: Rc<str> = format!("rookery-loadtest/{run:x}/{conv}").into();
            common.world.borrow_mut().oracle.conversation(&topic);
            for (position, member) in planned.members.iter().enumerate() {
                places[*member as usize].push(Place {
                    conv,
                    topic: topic.clone(),
                    speaks: position < planned.speakers,
                });
            }
        }
        let members = plan.conversations.iter().map(|planned| planned.members.clone());
        let judge = Rc::new(RefCell::new(Judge::new(members.collect())));
        let began = Instant::now();
        let spawn = |(me, places): (ClientIx, Vec<Place>)| {
            let (sender, commands) = mpsc::unbounded_channel();
            let client = Client::new(me, common.clone(), judge.clone(), places, commands, seed);
            (sender, tokio::task::spawn_local(client.run()))
        };
        let clients = (0..).zip(places).map(spawn).collect();
        let fleet = Fleet {
            common: common.clone(),
            judge,
            plan,
            clients,
        };
        let wanted = fleet.clients.len();
        while common.online.get() < wanted {
            if began.elapsed() > patience {
                let world = common.world.borrow();
                let last = world.oracle.history().lines().next_back().cloned();
                return Err(Error::Offline {
                    online: common.online.get(),
                    wanted,
                    waited: patience,
                    last: last.unwrap_or_default(),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(fleet)
    }

    pub(crate) fn own(&self) -> usize {
        self.clients.len()
    }

    /// The load begins now.
    pub(crate) fn begin(&self, pace: &Pace) -> Nanos {
        let began = {
            let world = &mut *self.common.world.borrow_mut();
            let now = world.clock.now();
            world.recorder.phase(STEADY, now);
            now
        };
        self.pace(pace);
        began
    }

    pub(crate) fn pace(&self, pace: &Pace) {
        for (speaker, share) in self.plan.speakers() {
            let pace = pace.clone();
            let _ = self.clients[speaker as usize]
                .0
                .send(Command::Pace { pace, share });
        }
    }

    /// Waits until every message is acked and every subscriber has what was acked.
    pub(crate) async fn settle(&self, patience: Duration) {
        let began = Instant::now();
        loop {
            let mut unanswered = 0;
            for (client, _) in &self.clients {
                let (reply, answer) = oneshot::channel();
                let _ = client.send(Command::Unanswered(reply));
                unanswered += answer.await.unwrap_or(0);
            }
            if self.settled(unanswered, began.elapsed() > patience, patience) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn settled(&self, unanswered: usize, late: bool, patience: Duration) -> bool {
        let level = self.judge.borrow().missing(1).is_empty();
        let oracle = &mut self.common.world.borrow_mut().oracle;
        if (unanswered == 0 && level) || oracle.counts().violations > 0 {
            return true;
        }
        if late && unanswered > 0 {
            let detail =
                format!("{unanswered} messages have no PUBACK {patience:?} after the last one was due");
            oracle.violate(Kind::Wedged, None, None, 0, detail);
        }
        late // what is missing then is told when the run is finished
    }

    /// What is missing now is missing for good. Then the clients take their sessions away.
    pub(crate) async fn finish(&self) {
        {
            let oracle = &mut self.common.world.borrow_mut().oracle;
            for missing in self.judge.borrow().missing(20) {
                oracle.violate(
                    Kind::AckedLost,
                    Some(missing.conv),
                    Some(missing.receiver),
                    u64::from(missing.tag.ordinal),
                    format!(
                        "{:?} was acked and never reached client {}",
                        missing.tag, missing.receiver
                    ),
                );
            }
        }
        for (client, _) in &self.clients {
            let _ = client.send(Command::Quit);
        }
        let began = Instant::now();
        while self.clients.iter().any(|(_, task)| !task.is_finished()) && began.elapsed() < LEAVE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
