//! One shard's interest against a model of its owner: whatever is lost, late, refused or moved, each worker receives
//! every event of a conversation once and in order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use cluster::{NodeId, ShardId};
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::rpc::deliver::DeliveryTarget;
use crate::rpc::register::{CaughtUp, InterestRegistered};
use crate::shard::InterestTable;
use crate::state_machine::LoggedEvent;
use crate::state_machine::query::Ranged;
use crate::subscription::{Delivered, OwnerDelivery};

mod responses;

const NODE: NodeId = NodeId(1);
const CONVS: [&str; 3] = ["g_a", "g_b", "g_c"];

/// The owner, the messages under way in both directions, and the workers.
struct Model {
    relay: InterestRegistration,
    workers: HubWorkers,
    events: Vec<(WorkerId, mpsc::Receiver<Vec<HubEvent>>)>,
    /// Per worker and conversation: the position at which it started, and the last event.
    seen: BTreeMap<(WorkerId, ConversationId), (u64, u64)>,
    interest: InterestTable,
    epoch: u64,
    log: BTreeMap<ConversationId, u64>,
    /// First event of each conversation that is still in the log.
    floor: BTreeMap<ConversationId, u64>,
    frames: VecDeque<OwnerDelivery>,
    questions: VecDeque<(u64, u64, InterestRequest)>,
    answers: VecDeque<(u64, Option<Option<InterestRegistered>>)>,
    now: Instant,
    draws: u64,
}

fn conv(at: usize) -> ConversationId {
    ConversationId::parse(CONVS[at % CONVS.len()]).unwrap()
}

fn logged(s: u64) -> LoggedEvent {
    LoggedEvent {
        s,
        tail: Bytes::from(s.to_string()),
    }
}

fn registration(now: Instant) -> InterestRegistration {
    ShardRegistration::new(ShardId(0), 1, ShardInterest::new(now))
}

impl Model {
    fn new() -> Model {
        let now = Instant::now();
        let mut workers = HubWorkers::default();
        let mut events = Vec::new();
        for worker in 1..=2 {
            let (sender, receiver) = mpsc::channel(10_000);
            workers.add(worker, sender);
            events.push((worker, receiver));
        }
        Model {
            relay: registration(now),
            workers,
            events,
            seen: BTreeMap::new(),
            interest: InterestTable::default(),
            epoch: 5,
            log: BTreeMap::new(),
            floor: BTreeMap::new(),
            frames: VecDeque::new(),
            questions: VecDeque::new(),
            answers: VecDeque::new(),
            now,
            draws: 1,
        }
    }

    /// Events behind a position that are still in the log, in pages of three.
    fn page(&self, conv: &ConversationId, after: u64) -> Vec<LoggedEvent> {
        let last = self.log.get(conv).copied().unwrap_or(0);
        let from = self.floor.get(conv).copied().unwrap_or(0).max(after + 1);
        (from..(last + 1).min(from + 3)).map(logged).collect()
    }

    /// Trims the log before its last events.
    fn let_go(&mut self, at: usize) {
        let last = self.log.get(&conv(at)).copied().unwrap_or(0);
        let floor = self.floor.entry(conv(at)).or_default();
        *floor = last.saturating_sub(at as u64 % 5).max(*floor);
    }

    fn mark_stale(&mut self) {
        self.draws += 1;
        self.relay.mark_stale(self.draws, self.now, Duration::ZERO);
    }

    /// Appends to the owner's log.
    fn publish(&mut self, at: usize) {
        let conv = conv(at);
        let seq = self.log.entry(conv.clone()).or_default();
        *seq += 1;
        let event = Arc::new(EventEnvelope::replay(conv.clone(), logged(*seq)));
        let (epoch, frames) = (self.epoch, &mut self.frames);
        self.interest.wanted(&conv, |to| {
            let to = DeliveryTarget {
                shard: 0,
                epoch,
                registration: to.registration,
                fo: to.fo,
            };
            frames.push_back(OwnerDelivery {
                to,
                what: Delivered::Event(event.clone()),
            });
        });
    }

    fn deliver(&mut self) {
        let Some(frame) = self.frames.pop_front() else {
            return;
        };
        if !self.relay.deliver(frame, self.now, &mut self.workers) {
            self.mark_stale();
        }
    }

    /// The owner sends its delivery seq, behind everything that it has sent.
    fn send_positions(&mut self) {
        while !self.frames.is_empty() {
            self.deliver();
        }
        let positions: Vec<DeliveryTarget> = self
            .interest
            .positions()
            .map(|to| DeliveryTarget {
                shard: 0,
                epoch: self.epoch,
                registration: to.registration,
                fo: to.fo,
            })
            .collect();
        for to in positions {
            if !self.relay.position(&to, self.now) {
                self.mark_stale();
            }
        }
    }

    fn ask(&mut self) {
        if self.relay.due(self.now).is_some() {
            let (id, question) = self.relay.next_request(self.epoch, self.now);
            self.questions.push_back((id, self.epoch, question));
        }
    }

    /// A request arrives at the owner.
    fn serve(&mut self) {
        let Some((id, epoch, question)) = self.questions.pop_front() else {
            return;
        };
        let answer = match question {
            _ if epoch != self.epoch => None,
            InterestRequest::Unregister(gone) => {
                self.interest
                    .unregister(NODE, gone.registration, &gone.convs, &gone.users);
                Some(None)
            }
            InterestRequest::Register(wants) => {
                let convs: Vec<&ConversationId> = wants.convs.iter().map(|(conv, _)| conv).collect();
                let known =
                    self.interest
                        .register(NODE, wants.registration, wants.fresh, convs, &wants.users);
                known.then(|| {
                    let caught = wants.convs.iter().map(|(conv, have)| {
                        let last = self.log.get(conv).copied().unwrap_or(0);
                        let events = have.map_or(Vec::new(), |have| self.page(conv, have));
                        CaughtUp { last, events }
                    });
                    let caught = caught.collect();
                    Some(InterestRegistered {
                        convs: caught,
                        admits: Vec::new(),
                        indexes: Vec::new(),
                        recent: Vec::new(),
                    })
                })
            }
        };
        self.answers.push_back((id, answer));
    }

    /// A response, or the failure of a request, arrives at the manager.
    fn receive(&mut self) {
        match self.answers.pop_front() {
            Some((id, Some(answer))) => {
                self.relay.on_response(id, answer, self.now, &mut self.workers);
            }
            Some((id, None)) => {
                self.draws += 1;
                self.relay
                    .on_failure(id, self.draws, self.now, |_| Duration::ZERO);
                self.mark_stale();
            }
            None => {}
        }
    }

    fn pull(&mut self) {
        if self.relay.content.missing.is_empty() {
            return;
        }
        let (conv, after) = self.relay.content.missing.remove(0);
        let last = self.log.get(&conv).copied().unwrap_or(0);
        let events = self.page(&conv, after);
        self.relay
            .content
            .pulled((&conv, after), Ranged { last, events }, &mut self.workers);
    }

    fn new_owner(&mut self) {
        self.epoch += 10;
        self.interest = InterestTable::default();
        if self.relay.owner_changed(self.epoch) {
            self.mark_stale();
        }
    }

    /// Reads the events of the workers and checks them.
    fn check(&mut self) -> Result<(), TestCaseError> {
        self.workers.flush();
        for (worker, events) in &mut self.events {
            while let Ok(batch) = events.try_recv() {
                for event in batch {
                    match event {
                        HubEvent::Live { conv, as_of } => {
                            self.seen.insert((*worker, conv), (as_of, as_of));
                        }
                        HubEvent::Event(event) => {
                            let seen = self.seen.get_mut(&(*worker, event.conv.clone()));
                            let Some((_, last)) = seen else {
                                return Err(TestCaseError::fail("an event before the position"));
                            };
                            let floor = self.floor.get(&event.conv).copied().unwrap_or(0);
                            let next = event.seq == *last + 1;
                            let over_what_is_gone = event.seq > *last && event.seq <= floor;
                            prop_assert!(
                                next || over_what_is_gone,
                                "worker {} of {}: {} behind {}",
                                worker,
                                &event.conv,
                                event.seq,
                                last
                            );
                            prop_assert_eq!(&event.tail, &Bytes::from(event.seq.to_string()));
                            *last = event.seq;
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// Runs the steps of a schedule, then lets everything arrive.
fn run(steps: &[(u8, u8)]) -> Result<(), TestCaseError> {
    let mut model = Model::new();
    for &(step, pick) in steps {
        let pick = usize::from(pick);
        let worker = (pick % 2) as u64 + 1;
        match step {
            0..=5 => model.publish(pick),
            6..=9 => model.deliver(),
            10 => {
                model.frames.pop_front();
            }
            11 => {
                let retained = model.frames.len() / 2;
                model.frames.truncate(retained);
            }
            12 | 13 => model.ask(),
            14 | 15 => model.serve(),
            16 => model.receive(),
            17 => {
                // The response is lost, which is detected at the deadline.
                if let Some((id, _)) = model.answers.pop_front() {
                    model.draws += 1;
                    model
                        .relay
                        .on_failure(id, model.draws, model.now, |_| Duration::ZERO);
                }
            }
            18 => model.pull(),
            19 => model.send_positions(),
            20 => model.new_owner(),
            21 => model.interest.forget(NODE),
            24 => model.let_go(pick),
            22 => {
                let conv = conv(pick / 2);
                model.check()?;
                model.relay.content.subscribe(worker, &conv, &mut model.workers);
            }
            _ => {
                let conv = conv(pick / 2);
                model.check()?;
                model.relay.content.unsubscribe(worker, &conv);
                model.seen.remove(&(worker, conv));
            }
        }
        model.check()?;
    }
    // The faults are over. If the owner has lost the registration, its silence has been detected.
    if model.interest.positions().next().is_none() {
        model.mark_stale();
    }
    for _ in 0..200 {
        model.ask();
        model.serve();
        model.receive();
        model.pull();
        model.send_positions();
    }
    model.check()?;
    prop_assert_eq!(model.relay.content.missing.len(), 0);
    for ((worker, conv), (_, last)) in &model.seen {
        prop_assert_eq!(
            *last,
            model.log.get(conv).copied().unwrap_or(0),
            "worker {} of {}",
            worker,
            conv
        );
    }
    Ok(())
}

#[test]
fn range_of_an_earlier_interest_skips_no_event() {
    // A worker leaves while a range is missing, and another one arrives: its position is that of an older response.
    let steps = [
        (22, 27),
        (12, 0),
        (14, 0),
        (0, 0),
        (0, 46),
        (16, 0),
        (0, 64),
        (10, 0),
        (22, 64),
        (12, 0),
        (6, 0),
        (12, 0),
        (14, 0),
        (14, 0),
        (0, 43),
        (6, 0),
        (0, 1),
        (18, 0),
        (23, 189),
        (16, 0),
        (22, 32),
        (16, 0),
        (18, 0),
    ];
    run(&steps).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_of_registrations_and_losses_skips_or_repeats(
        steps in prop::collection::vec((0u8..25, any::<u8>()), 1..400)
    ) {
        run(&steps)?;
    }
}
