//! Commands to a client: its behavior, its pace and the messages that are due.

use rand::RngExt;

use super::{LoadClient, SendPacer};
use crate::clock::Nanos;
use crate::load::HarnessCommand;
use crate::load::client::state::PendingRequest;
use crate::measure::RunContext;
use crate::oracle::Reading;
use crate::pacing::{LoadPace, Schedule};
use crate::spec::{ActivityMix, ClientActivity, ClientBehavior};

/// Maximum number of messages that a sender queues while it is offline; further ones are counted as shed.
const BACKLOG: usize = 20_000;

// === impl LoadClient: commands ===

impl LoadClient {
    pub(super) fn command(&mut self, command: Option<Box<HarnessCommand>>) {
        match command.map(|command| *command) {
            Some(HarnessCommand::Join {
                name,
                conv,
                speak,
                reply,
            }) => {
                let view = self.state.join(name, conv, reply);
                if speak {
                    self.speaks.push(view);
                }
            }
            Some(HarnessCommand::Create {
                kind,
                cid,
                members,
                reply,
            }) => {
                self.state.ask(PendingRequest::Create {
                    kind,
                    cid,
                    members,
                    reply,
                });
            }
            Some(HarnessCommand::Membership { name, change, reply }) => {
                self.state.ask(PendingRequest::Membership { name, change, reply });
            }
            Some(HarnessCommand::Behave(behavior)) => self.behave(behavior),
            Some(HarnessCommand::Probe(reads)) => self.probe(reads),
            Some(HarnessCommand::Cut) => self.cut = true,
            Some(HarnessCommand::Inbox(reply)) => {
                let now = self.common.context.borrow().clock.now();
                self.state.list(now, Some(reply));
            }
            Some(HarnessCommand::Reread { name, after, reply }) => {
                if let Some(view) = self.state.view(name.as_str()) {
                    self.state.ask(PendingRequest::Reread {
                        view,
                        after,
                        reading: Reading::default(),
                        reply,
                    });
                }
            }
            Some(HarnessCommand::Pace { pace, share }) => {
                let common = self.common.clone();
                let context = &mut *common.context.borrow_mut();
                let now = context.clock.now();
                // Messages that are due already belong to the old pace.
                self.produce(now, context); // what is due already is due, whatever comes now
                self.pacer = match pace {
                    LoadPace::Open { rate, arrival } if !self.speaks.is_empty() && share > 0.0 => {
                        SendPacer::Open(Schedule::new(rate, share, arrival, now, &mut self.rng))
                    }
                    LoadPace::Closed { window } if !self.speaks.is_empty() => SendPacer::Window(window),
                    _ => SendPacer::Silent,
                };
            }
            Some(HarnessCommand::Move) => {} // being woken is enough: the loop looks at the permitted nodes
            Some(HarnessCommand::Unanswered(reply)) => {
                let unanswered = self.state.unanswered();
                // The history beside a violation then shows which messages were missing.
                if unanswered > 0 {
                    let waiting: Vec<_> = self.state.waiting().collect();
                    let context = &mut *self.common.context.borrow_mut();
                    let line = format!(
                        "client {} on {} has pending requests: {waiting:?}",
                        self.me, self.node
                    );
                    context.oracle.note(context.clock.now(), line);
                }
                let _ = reply.send(unanswered);
            }
            Some(HarnessCommand::Quit) | None => self.quit = true,
        }
    }

    fn behave(&mut self, behavior: ClientBehavior) {
        let context = self.common.context.borrow();
        let now = context.clock.now();
        // Deliveries that the slow reading delays must not enter the latency histograms.
        if self.behavior.reads.is_some() || behavior.reads.is_some() {
            self.state.late(behavior.reads.is_some(), now);
        }
        self.behavior = behavior;
        self.state.marks = behavior.marks;
        self.drops_at = behavior.drops_at(now, &mut self.rng);
        if behavior.watches > 0 {
            let others = (1..=behavior.watches).map(|next| context.payload.user_id(self.me + next));
            let others = others.collect();
            // `watch` needs the state mutably, so the borrow of the context must end.
            drop(context);
            self.state.watch(others);
        }
    }

    /// Produces the messages and activities that are due.
    pub(super) fn produce(&mut self, now: Nanos, context: &mut RunContext) {
        let budget = &self.common.budget;
        match &mut self.pacer {
            SendPacer::Silent => {}
            // A window is per sender, over all its conversations.
            SendPacer::Window(window) if self.state.online => {
                let backlog: usize = self.speaks.iter().map(|view| self.state.backlog(*view)).sum();
                // A sender that was removed everywhere would send in a tight loop, because each refusal frees the
                // window.
                let out = self.speaks.iter().all(|view| self.state.is_out(*view));
                for _ in backlog..*window {
                    if budget.get() == 0 || out {
                        break;
                    }
                    budget.set(budget.get() - 1);
                    self.turn += 1;
                    self.state
                        .offer(self.speaks[self.turn % self.speaks.len()], now, context);
                }
            }
            // An offline client would only queue its whole window.
            SendPacer::Window(_) => {}
            SendPacer::Open(schedule) => {
                while budget.get() > 0
                    && let Some(due) = schedule.due(now, &mut self.rng)
                {
                    // Random steps spread the activities of a team over the conversations.
                    self.turn += match self.behavior.acts {
                        ActivityMix::Messages => 1,
                        ActivityMix::Team | ActivityMix::Lists(_) => self.rng.random_range(1..64),
                    };
                    let view = self.speaks[self.turn % self.speaks.len()];
                    let act = self.behavior.acts.pick(&mut self.rng);
                    if act != ClientActivity::Send {
                        self.state.act(act, view, due, context, &mut self.rng);
                        continue;
                    }
                    // Shed instead of queued without bound: a long outage must not exhaust the harness's memory.
                    if self.state.backlog(view) >= BACKLOG {
                        context.recorder.error("shed: the sender's backlog is full");
                        continue;
                    }
                    budget.set(budget.get() - 1);
                    self.state.offer(view, due, context);
                }
            }
        }
    }

    pub(super) fn next_due(&self, now: Nanos) -> Option<Nanos> {
        match &self.pacer {
            SendPacer::Open(schedule) if self.common.budget.get() > 0 => Some(schedule.next().max(now)),
            _ => None,
        }
    }
}
