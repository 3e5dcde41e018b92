//! MQTT 3.1.1 at QoS 1 as a second protocol: the same plan, pace, histograms and report compare any broker with
//! Rookery.
//!
//! A conversation is a topic. Its members are persistent sessions that subscribe to it, and its speakers publish to it.
//! The latency from send to acknowledgement is that from PUBLISH to PUBACK.
//!
//! The checker (`DeliveryChecker`) verifies what MQTT promises: every acknowledged message reaches every subscriber at
//! least once. A duplicate is counted, and is no violation. There is no common order to compare.

mod client;
mod delivery_checker;
mod session;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::client::MqttClient;
use self::delivery_checker::DeliveryChecker;
use crate::clock::Nanos;
use crate::load::SharedRun;
use crate::oracle::{ConvIx, ViolationKind};
use crate::pacing::LoadPace;
use crate::payload::ClientIx;
use crate::spec::{STEADY, ScenarioPlan};

/// All clients of a run against a broker.
pub(crate) struct MqttPool {
    common: Rc<SharedRun>,
    judge: Rc<RefCell<DeliveryChecker>>,
    plan: ScenarioPlan,
    clients: Vec<(mpsc::UnboundedSender<MqttCommand>, JoinHandle<()>)>,
}

/// Command to one client.
enum MqttCommand {
    /// Sends at this pace from now on. `share` is the client's share of an open loop's rate.
    Pace { pace: LoadPace, share: f64 },
    /// Replies with the number of messages without a PUBACK.
    Unanswered(oneshot::Sender<usize>),
    /// Removes the session at the broker, and ends the client.
    Quit,
}

/// Topic that a client subscribes to.
#[derive(Clone, Debug)]
struct TopicSubscription {
    conv: ConvIx,
    topic: Rc<str>,
    /// `true` if the client also publishes to it.
    speaks: bool,
}

/// Error of the start of the clients.
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

/// Longest time for all clients to disconnect.
const LEAVE: Duration = Duration::from_secs(20);

// === impl MqttPool ===

impl MqttPool {
    /// Connects the plan's clients and subscribes each to the topics of its conversations. Fails after `patience`.
    pub(crate) async fn assemble(
        common: Rc<SharedRun>,
        plan: ScenarioPlan,
        seed: u64,
        patience: Duration,
    ) -> Result<MqttPool, Error> {
        let run = common.context.borrow().payload.run();
        let mut subscriptions: Vec<Vec<TopicSubscription>> = vec![Vec::new(); plan.clients as usize];
        for (conv, planned) in (0..).zip(&plan.conversations) {
            // The run's id separates the topics from those of an earlier run, whose sessions the broker may still hold.
            let topic: Rc<str> = format!("rookery-loadtest/{run:x}/{conv}").into();
            common.context.borrow_mut().oracle.conversation(&topic);
            for (position, member) in planned.members.iter().enumerate() {
                subscriptions[*member as usize].push(TopicSubscription {
                    conv,
                    topic: topic.clone(),
                    speaks: position < planned.speakers,
                });
            }
        }
        let members = plan.conversations.iter().map(|planned| planned.members.clone());
        let judge = Rc::new(RefCell::new(DeliveryChecker::new(members.collect())));
        let began = Instant::now();
        let spawn = |(me, subscriptions): (ClientIx, Vec<TopicSubscription>)| {
            let (sender, commands) = mpsc::unbounded_channel();
            let client = MqttClient::new(me, common.clone(), judge.clone(), subscriptions, commands, seed);
            (sender, tokio::task::spawn_local(client.run()))
        };
        let clients = (0..).zip(subscriptions).map(spawn).collect();
        let fleet = MqttPool {
            common: common.clone(),
            judge,
            plan,
            clients,
        };
        let wanted = fleet.clients.len();
        while common.online.get() < wanted {
            // The last line of the history names the most recent cause of a failed connection.
            if began.elapsed() > patience {
                let context = common.context.borrow();
                let last = context.oracle.history().lines().next_back().cloned();
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

    /// Starts the load and the measured phase. Returns the start time.
    pub(crate) fn begin(&self, pace: &LoadPace) -> Nanos {
        let began = {
            let context = &mut *self.common.context.borrow_mut();
            let now = context.clock.now();
            context.recorder.phase(STEADY, now);
            now
        };
        self.pace(pace);
        began
    }

    pub(crate) fn pace(&self, pace: &LoadPace) {
        for (speaker, share) in self.plan.speakers() {
            let pace = pace.clone();
            let _ = self.clients[speaker as usize]
                .0
                .send(MqttCommand::Pace { pace, share });
        }
    }

    /// Waits until every message is acknowledged and delivered to every subscriber, at most for `patience`.
    pub(crate) async fn quiesce(&self, patience: Duration) {
        let began = Instant::now();
        loop {
            let mut unanswered = 0;
            for (client, _) in &self.clients {
                let (reply, answer) = oneshot::channel();
                let _ = client.send(MqttCommand::Unanswered(reply));
                // A client that has ended counts as 0; its missing messages are reported by `finish`.
                unanswered += answer.await.unwrap_or(0);
            }
            if self.is_quiet(unanswered, began.elapsed() > patience, patience) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn is_quiet(&self, unanswered: usize, late: bool, patience: Duration) -> bool {
        let level = self.judge.borrow().missing(1).is_empty();
        let oracle = &mut self.common.context.borrow_mut().oracle;
        // A violation decides the run, so waiting for the rest would only delay the report.
        if (unanswered == 0 && level) || oracle.counts().violations > 0 {
            return true;
        }
        if late && unanswered > 0 {
            let detail =
                format!("{unanswered} messages have no PUBACK {patience:?} after the last scheduled send");
            oracle.violate(ViolationKind::Wedged, None, None, 0, detail);
        }
        late // what is missing then is told when the run is finished
    }

    /// Reports every acknowledged message that is still missing, and then disconnects the clients.
    pub(crate) async fn finish(&self) {
        {
            let oracle = &mut self.common.context.borrow_mut().oracle;
            // Before the clients quit: that removes their sessions, and with them what the broker still holds.
            for missing in self.judge.borrow().missing(20) {
                oracle.violate(
                    ViolationKind::AckedLost,
                    Some(missing.conv),
                    Some(missing.receiver),
                    u64::from(missing.tag.ordinal),
                    format!(
                        "{:?} was acknowledged but not delivered to client {}",
                        missing.tag, missing.receiver
                    ),
                );
            }
        }
        for (client, _) in &self.clients {
            let _ = client.send(MqttCommand::Quit);
        }
        let began = Instant::now();
        while self.clients.iter().any(|(_, task)| !task.is_finished()) && began.elapsed() < LEAVE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
