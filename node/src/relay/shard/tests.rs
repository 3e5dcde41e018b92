//! A relay's shard against a model of its owner: whatever is lost, late, refused or moved, each worker sees every event
//! of a conversation once and in order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use proptest::prelude::*;
use protocol::answer::Last;
use tokio::sync::mpsc;

use super::*;
use crate::conversation::interest::Interest;
use crate::conversation::timeline::read::{Logged, Placed};
use crate::relay::{Delivered, Delivery};
use crate::rpc::deliver::To;
use crate::rpc::read::Ranged;
use crate::rpc::register::{Caught, Registered, Unlogged};

const NODE: NodeId = NodeId(1);
const CONVS: [&str; 3] = ["g_a", "g_b", "g_c"];

/// The owner, the way there and back, and the workers.
struct Model {
    relay: ShardRelay,
    workers: Workers,
    notices: Vec<(WorkerId, mpsc::Receiver<Vec<Notice>>)>,
    /// What each worker has of each conversation: the position it began at, and the last event.
    seen: BTreeMap<(WorkerId, ConvId), (u64, u64)>,
    interest: Interest,
    epoch: u64,
    log: BTreeMap<ConvId, u64>,
    /// The first event of each that is still there.
    floor: BTreeMap<ConvId, u64>,
    frames: VecDeque<Delivery>,
    questions: VecDeque<(u64, u64, Question)>,
    answers: VecDeque<(u64, Option<Option<Registered>>)>,
    holes: Vec<Hole>,
    now: Instant,
    draws: u64,
}

fn conv(at: usize) -> ConvId {
    ConvId::parse(CONVS[at % CONVS.len()]).unwrap()
}

fn logged(s: u64) -> Logged {
    Logged {
        s,
        tail: Bytes::from(s.to_string()),
    }
}

impl Model {
    fn new() -> Model {
        let now = Instant::now();
        let mut workers = Workers::default();
        let mut notices = Vec::new();
        for worker in 1..=2 {
            let (sender, receiver) = mpsc::channel(10_000);
            workers.add(worker, sender);
            notices.push((worker, receiver));
        }
        Model {
            relay: ShardRelay::new(0, 1, now),
            workers,
            notices,
            seen: BTreeMap::new(),
            interest: Interest::default(),
            epoch: 5,
            log: BTreeMap::new(),
            floor: BTreeMap::new(),
            frames: VecDeque::new(),
            questions: VecDeque::new(),
            answers: VecDeque::new(),
            holes: Vec::new(),
            now,
            draws: 1,
        }
    }

    /// What is there behind a place, in pages of three.
    fn page(&self, conv: &ConvId, after: u64) -> Vec<Logged> {
        let last = self.log.get(conv).copied().unwrap_or(0);
        let from = self.floor.get(conv).copied().unwrap_or(0).max(after + 1);
        (from..(last + 1).min(from + 3)).map(logged).collect()
    }

    /// The log lets go of what is before its last events.
    fn let_go(&mut self, at: usize) {
        let last = self.log.get(&conv(at)).copied().unwrap_or(0);
        let floor = self.floor.entry(conv(at)).or_default();
        *floor = last.saturating_sub(at as u64 % 5).max(*floor);
    }

    fn doubt(&mut self) {
        self.draws += 1;
        self.relay.doubt(self.draws, self.now, Duration::ZERO);
    }

    /// The owner's log grows.
    fn publish(&mut self, at: usize) {
        let conv = conv(at);
        let seq = self.log.entry(conv.clone()).or_default();
        *seq += 1;
        let event = Arc::new(Published::replay(conv.clone(), logged(*seq)));
        let (epoch, frames) = (self.epoch, &mut self.frames);
        self.interest.wanted(&conv, |to| {
            let to = To {
                shard: 0,
                epoch,
                registration: to.registration,
                fo: to.fo,
            };
            frames.push_back(Delivery {
                to,
                what: Delivered::Event(event.clone()),
            });
        });
    }

    fn deliver(&mut self) {
        let Some(frame) = self.frames.pop_front() else {
            return;
        };
        if !self
            .relay
            .deliver(frame, self.now, &mut self.workers, &mut self.holes)
        {
            self.doubt();
        }
    }

    /// The owner tells its numbers, behind all that it has sent.
    fn tell_positions(&mut self) {
        while !self.frames.is_empty() {
            self.deliver();
        }
        let positions: Vec<To> = self
            .interest
            .positions()
            .map(|to| To {
                shard: 0,
                epoch: self.epoch,
                registration: to.registration,
                fo: to.fo,
            })
            .collect();
        for to in positions {
            if !self.relay.position(&to, self.now) {
                self.doubt();
            }
        }
    }

    fn ask(&mut self) {
        if self.relay.due().is_some() {
            let (id, question) = self.relay.ask(self.epoch);
            self.questions.push_back((id, self.epoch, question));
        }
    }

    /// A question reaches the owner.
    fn serve(&mut self) {
        let Some((id, epoch, question)) = self.questions.pop_front() else {
            return;
        };
        let answer = match question {
            _ if epoch != self.epoch => None,
            Question::Unregister(gone) => {
                self.interest
                    .unregister(NODE, gone.registration, &gone.convs, &gone.users);
                Some(None)
            }
            Question::Register(wants) => {
                let convs: Vec<&ConvId> = wants.convs.iter().map(|(conv, _)| conv).collect();
                let known =
                    self.interest
                        .register(NODE, wants.registration, wants.fresh, convs, &wants.users);
                known.then(|| {
                    let caught = wants.convs.iter().map(|(conv, have)| {
                        let last = self.log.get(conv).copied().unwrap_or(0);
                        let events = have.map_or(Vec::new(), |have| self.page(conv, have));
                        Caught { last, events }
                    });
                    let caught = caught.collect();
                    Some(Registered {
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

    /// An answer, or the news that there is none, reaches the relay.
    fn hear(&mut self) {
        match self.answers.pop_front() {
            Some((id, Some(answer))) => {
                self.relay
                    .answered(id, answer, self.now, &mut self.workers, &mut self.holes);
            }
            Some((id, None)) => {
                self.draws += 1;
                self.relay.failed(id, self.draws, self.now, |_| Duration::ZERO);
                self.doubt();
            }
            None => {}
        }
    }

    fn pull(&mut self) {
        if self.holes.is_empty() {
            return;
        }
        let (conv, after) = self.holes.remove(0);
        let last = self.log.get(&conv).copied().unwrap_or(0);
        let events = self.page(&conv, after);
        let hole = self
            .relay
            .pulled(&conv, Some(Ranged { last, events }), &mut self.workers);
        self.holes.extend(hole);
    }

    fn new_owner(&mut self) {
        self.epoch += 10;
        self.interest = Interest::default();
        if self.relay.moved(self.epoch) {
            self.doubt();
        }
    }

    /// Reads what the workers got, and checks it.
    fn check(&mut self) -> Result<(), TestCaseError> {
        self.workers.flush();
        for (worker, notices) in &mut self.notices {
            while let Ok(batch) = notices.try_recv() {
                for notice in batch {
                    match notice {
                        Notice::Live { conv, as_of } => {
                            self.seen.insert((*worker, conv), (as_of, as_of));
                        }
                        Notice::Event(event) => {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_of_registrations_and_losses_skips_or_repeats(
        steps in prop::collection::vec((0u8..25, any::<u8>()), 1..400)
    ) {
        let mut model = Model::new();
        for (step, pick) in steps {
            let pick = usize::from(pick);
            let worker = (pick % 2) as u64 + 1;
            match step {
                0..=5 => model.publish(pick),
                6..=9 => model.deliver(),
                10 => { model.frames.pop_front(); }
                11 => { let kept = model.frames.len() / 2; model.frames.truncate(kept); }
                12 | 13 => model.ask(),
                14 | 15 => model.serve(),
                16 => model.hear(),
                17 => {
                    // The answer is lost, which the relay learns at the deadline.
                    if let Some((id, _)) = model.answers.pop_front() {
                        model.draws += 1;
                        model.relay.failed(id, model.draws, model.now, |_| Duration::ZERO);
                    }
                }
                18 => model.pull(),
                19 => model.tell_positions(),
                20 => model.new_owner(),
                21 => model.interest.forget(NODE),
                24 => model.let_go(pick),
                22 => {
                    let conv = conv(pick / 2);
                    model.check()?;
                    model.relay.subscribe(worker, &conv, &mut model.workers);
                }
                _ => {
                    let conv = conv(pick / 2);
                    model.check()?;
                    model.relay.unsubscribe(worker, &conv);
                    model.seen.remove(&(worker, conv));
                }
            }
            model.check()?;
        }
        // The faults are over; the owner's silence, if it forgot the node, has been noticed.
        if model.interest.positions().next().is_none() {
            model.doubt();
        }
        for _ in 0..200 {
            model.ask();
            model.serve();
            model.hear();
            model.pull();
            model.tell_positions();
        }
        model.check()?;
        prop_assert_eq!(model.holes.len(), 0);
        for ((worker, conv), (_, last)) in &model.seen {
            prop_assert_eq!(*last, model.log.get(conv).copied().unwrap_or(0), "worker {} of {}", worker, conv);
        }
    }
}

#[test]
fn users_whose_conversations_did_not_fit_into_an_answer_are_asked_for_again() {
    let mut model = Model::new();
    let users: Vec<UserId> = (0..5).map(|n| UserId::parse(&format!("u{n}")).unwrap()).collect();
    for user in &users {
        model.relay.attach(1, user);
    }
    let mut shown = Vec::new();
    while model.relay.due().is_some() {
        let (id, question) = model.relay.ask(model.epoch);
        let Question::Register(wants) = question else {
            panic!("{question:?}")
        };
        let placed = Placed {
            conv: conv(0),
            ms: 9,
            since_ms: 8,
            last: Last::default(),
            large: false,
        };
        let answer = Registered {
            convs: Vec::new(),
            admits: Vec::new(),
            indexes: wants.users.iter().take(2).map(|_| vec![placed.clone()]).collect(),
            recent: Vec::new(),
        };
        model
            .relay
            .answered(id, Some(answer), model.now, &mut model.workers, &mut model.holes);
        model.workers.flush();
        while let Ok(batch) = model.notices[0].1.try_recv() {
            shown.extend(batch.into_iter().map(|notice| match notice {
                Notice::Index { user, .. } => user,
                other => panic!("{other:?}"),
            }));
        }
    }
    assert_eq!(shown, users, "each once");
}

#[test]
fn what_was_said_before_a_registration_comes_before_what_is_said_after_it() {
    let mut model = Model::new();
    model.relay.subscribe(1, &conv(0), &mut model.workers);
    let unlogged = |text: &'static str| Unlogged {
        conv: conv(0),
        tail: Bytes::from_static(text.as_bytes()),
        skip: 0,
        only: None,
    };
    let unlogged_event = |text: &str| {
        Arc::new(Published {
            tail: Bytes::copy_from_slice(text.as_bytes()),
            ..Published::replay(conv(0), logged(0))
        })
    };
    for round in 0..2 {
        let (id, _) = model.relay.ask(model.epoch);
        // It comes before the answer, by another way.
        let to = To {
            shard: 0,
            epoch: model.epoch,
            registration: model.draws,
            fo: 1,
        };
        let what = Delivered::Event(unlogged_event("after"));
        let delivery = Delivery { to, what };
        assert!(
            model
                .relay
                .deliver(delivery, model.now, &mut model.workers, &mut model.holes)
        );
        let answer = Registered {
            convs: vec![Caught {
                last: 0,
                events: Vec::new(),
            }],
            admits: Vec::new(),
            indexes: Vec::new(),
            recent: vec![unlogged("before")],
        };
        model
            .relay
            .answered(id, Some(answer), model.now, &mut model.workers, &mut model.holes);
        model.workers.flush();
        let mut shown = Vec::new();
        while let Ok(batch) = model.notices[0].1.try_recv() {
            shown.extend(batch.into_iter().filter_map(|notice| match notice {
                Notice::Event(event) => Some(String::from_utf8(event.tail.to_vec()).unwrap()),
                _ => None,
            }));
        }
        // Who is new is told with the admission.
        let expected: &[&str] = if round == 0 {
            &["after"]
        } else {
            &["before", "after"]
        };
        assert_eq!(shown, expected);
        model.doubt();
    }
}

#[test]
fn who_comes_is_registered_before_what_nobody_wants_any_more_is_given_back_and_neither_waits_twice() {
    let (now, mut workers, mut holes) = (Instant::now(), Workers::default(), Vec::new());
    let mut relay = ShardRelay::new(0, 1, now);
    let mut answer = |relay: &mut ShardRelay, id, register: Option<Register>| {
        let registered = register.map(|register| Registered {
            convs: vec![
                Caught {
                    last: 3,
                    events: Vec::new()
                };
                register.convs.len()
            ],
            admits: Vec::new(),
            indexes: Vec::new(),
            recent: Vec::new(),
        });
        relay.answered(id, registered, now, &mut workers, &mut holes);
    };
    let mut given_back = Vec::new();
    for (came, went) in [(0, None), (1, Some(0)), (0, Some(1)), (2, Some(0))] {
        relay.subscribe(1, &conv(came), &mut Workers::default());
        if let Some(went) = went {
            relay.unsubscribe(1, &conv(went));
        }
        let (id, question) = relay.ask(5);
        let (id, question) = match question {
            Question::Unregister(gone) => {
                given_back.extend(gone.convs);
                answer(&mut relay, id, None);
                relay.ask(5)
            }
            question => (id, question),
        };
        let Question::Register(register) = question else {
            panic!("two in a row that give back")
        };
        assert_eq!(register.convs, [(conv(came), None)]);
        answer(&mut relay, id, Some(register));
    }
    // One came again before it was given back; when it went again, who came then was first.
    assert_eq!(given_back, [conv(1)]);
    let (_, Question::Unregister(last)) = relay.ask(5) else {
        panic!("what went last is given back")
    };
    assert_eq!(last.convs, [conv(0)]);
}
