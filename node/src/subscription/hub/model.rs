//! Property test of a worker's hub against a model of the log, its owner and the manager. Members join and leave, the
//! log is trimmed, events get lost, proofs arrive late. A session is called only for events that its user may see.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::rpc::register::Proof;
use crate::state_machine::EventEnvelope;
use crate::subscription::hub_event::HubEvent;

const USERS: [&str; 2] = ["bob", "carol"];

/// An event of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogEvent {
    Message,
    /// The user is added or removed, whichever changes something.
    Change(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubscriberCall {
    Event(u64),
    Jumped(u64),
    Ended,
}

struct ModelProbe {
    id: u64,
    user: UserId,
    calls: RefCell<Vec<SubscriberCall>>,
}

impl Subscriber for ModelProbe {
    fn id(&self) -> u64 {
        self.id
    }
    fn user(&self) -> &UserId {
        &self.user
    }
    fn event(&self, published: &EventEnvelope) {
        self.calls.borrow_mut().push(SubscriberCall::Event(published.seq));
    }
    fn jumped(&self, _: &ConversationId, at: u64) {
        self.calls.borrow_mut().push(SubscriberCall::Jumped(at));
    }
    fn ended(&self, _: &ConversationId) {
        self.calls.borrow_mut().push(SubscriberCall::Ended);
    }
    fn joined(&self, _: &ConversationId) {}
}

type Subscribing = Pin<Box<dyn Future<Output = Result<u64, CommandError>>>>;

/// Session, with its state in the model.
struct ModelSession {
    probe: Rc<ModelProbe>,
    user: usize,
    subscribing: Option<Subscribing>,
    /// Last position that it was called for; `None` without a subscription.
    at: Option<u64>,
}

struct HubModel {
    hub: SubscriptionHub,
    orders: mpsc::UnboundedReceiver<HubCommand>,
    /// Commands that the manager has not processed.
    waiting: VecDeque<HubCommand>,
    events: VecDeque<HubEvent>,
    sessions: Vec<ModelSession>,
    log: Vec<LogEvent>,
    /// First event that is still in the log.
    floor: u64,
    /// Position up to which events were sent to the worker, lost ones included; `None` without interest.
    live: Option<u64>,
    lost: bool,
}

fn conv() -> ConversationId {
    ConversationId::parse("g_1").unwrap()
}

impl HubModel {
    fn new() -> HubModel {
        let (hub, orders) = SubscriptionHub::build();
        let sessions = [0, 0, 1].into_iter().zip(1..).map(|(user, id)| ModelSession {
            probe: Rc::new(ModelProbe {
                id,
                user: UserId::parse(USERS[user]).unwrap(),
                calls: RefCell::default(),
            }),
            user,
            subscribing: None,
            at: None,
        });
        HubModel {
            hub,
            orders,
            waiting: VecDeque::new(),
            events: VecDeque::new(),
            sessions: sessions.collect(),
            // Both users are members.
            log: vec![LogEvent::Change(0), LogEvent::Change(1)],
            floor: 1,
            live: None,
            lost: false,
        }
    }

    fn end(&self) -> u64 {
        self.log.len() as u64
    }

    /// Returns true if the user is a member behind the event at a position.
    fn is_member(&self, user: usize, at: u64) -> bool {
        let upto = self.log.iter().take(at as usize);
        upto.filter(|event| **event == LogEvent::Change(user)).count() % 2 == 1
    }

    fn published(&self, s: u64) -> Arc<EventEnvelope> {
        let mut event = EventEnvelope {
            conv: conv(),
            seq: s,
            tail: Bytes::new(),
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        };
        if let LogEvent::Change(user) = self.log[s as usize - 1] {
            let who = Some(UserId::parse(USERS[user]).unwrap());
            if self.is_member(user, s) {
                event.adds = who;
            } else {
                event.removes = who;
            }
        }
        event.into()
    }

    fn proof(&self, user: &UserId) -> Proof {
        let user = USERS.iter().position(|name| *name == user.as_str()).unwrap();
        let at = self.end();
        let changed = self
            .log
            .iter()
            .rposition(|event| *event == LogEvent::Change(user));
        let since = changed.filter(|_| self.is_member(user, at));
        let since = since.map(|at| at as u64 + 1);
        let history = protocol::HistoryVisibility::All;
        Proof { at, since, history }
    }

    /// The manager sends the next event to the worker, or loses it.
    fn send(&mut self, lose: bool) {
        let Some(at) = self.live.filter(|at| *at < self.end()) else {
            return;
        };
        // Trimmed events cannot be sent.
        let next = (at + 1).max(self.floor);
        self.live = Some(next);
        if lose {
            self.lost = true;
        } else {
            self.events.push_back(HubEvent::Event(self.published(next)));
        }
    }

    fn admit_loss(&mut self) {
        if std::mem::take(&mut self.lost) {
            self.events.push_back(HubEvent::Overflow);
        }
    }

    /// The manager executes a command, with the owner's data.
    fn carry_out(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.waiting.push_back(order);
        }
        match self.waiting.pop_front() {
            Some(HubCommand::Subscribe { user, ticket, .. }) => {
                if self.live.is_none() {
                    self.live = Some(self.end());
                    let as_of = self.end();
                    self.events.push_back(HubEvent::Live { conv: conv(), as_of });
                }
                self.events.push_back(HubEvent::Admitted {
                    ticket,
                    result: Ok(self.proof(&user)),
                    recent: Vec::new(),
                });
            }
            Some(HubCommand::Unsubscribe { .. }) => self.live = None,
            Some(HubCommand::Pull { after, .. }) => {
                let from = (after + 1).max(self.floor);
                let events = (from..=self.end().min(from + 2)).map(|s| self.published(s));
                let events = events.collect();
                self.events.push_back(HubEvent::Pulled {
                    conv: conv(),
                    after,
                    events,
                    last: self.end(),
                });
            }
            _ => {}
        }
    }

    fn take(&mut self) {
        if let Some(event) = self.events.pop_front() {
            // Ready at once: with so few subscribers there is no pause between slices.
            let taken = self.hub.hub.take(event).now_or_never();
            assert!(taken.is_some());
        }
    }

    fn subscribe(&mut self, at: usize) {
        let session = &mut self.sessions[at];
        if session.at.is_none() && session.subscribing.is_none() {
            let subscribing = self.hub.subscribe(&conv(), session.probe.clone());
            session.subscribing = Some(Box::pin(subscribing));
        }
    }

    /// Checks the calls that the sessions received.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let mut sessions = std::mem::take(&mut self.sessions);
        for session in &mut sessions {
            self.check_session(session)?;
        }
        self.sessions = sessions;
        Ok(())
    }

    fn check_session(&self, session: &mut ModelSession) -> Result<(), TestCaseError> {
        let user = session.user;
        if let Some(result) = session
            .subscribing
            .as_mut()
            .and_then(|waiting| waiting.now_or_never())
        {
            session.subscribing = None;
            session.at = result.ok();
            if let Some(at) = session.at {
                prop_assert!(
                    self.is_member(user, at),
                    "admitted at {} without being a member",
                    at
                );
            }
        }
        for call in session.probe.calls.take() {
            let Some(at) = session.at else {
                return Err(TestCaseError::fail(format!("{call:?} without a subscription")));
            };
            let member =
                |mut positions: std::ops::RangeInclusive<u64>| positions.all(|s| self.is_member(user, s));
            match call {
                SubscriberCall::Event(s) => {
                    prop_assert_eq!(s, at + 1, "a hole, or a double");
                    prop_assert!(member(at..=s - 1), "{} is for members", s);
                    session.at = self.is_member(user, s).then_some(s);
                }
                SubscriberCall::Jumped(to) => {
                    prop_assert!(to > at && member(at..=to), "from {} to {}", at, to);
                    session.at = Some(to);
                }
                SubscriberCall::Ended => {
                    prop_assert!(!member(at..=self.end()), "a member was ended");
                    session.at = None;
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_subscriber_is_called_without_stream_or_proof(
        steps in prop::collection::vec((0u8..22, any::<u8>()), 1..300)
    ) {
        let mut model = HubModel::new();
        for (step, pick) in steps {
            let pick = usize::from(pick);
            match step {
                0..=3 => model.log.push(LogEvent::Message),
                4 => model.log.push(LogEvent::Change(pick % 2)),
                5..=8 => model.send(false),
                9 => model.send(true),
                10 => model.admit_loss(),
                11..=13 => model.carry_out(),
                14..=18 => model.take(),
                19 => model.floor = model.floor.max(model.end().saturating_sub(pick as u64 % 4)),
                20 => model.subscribe(pick % 3),
                _ => {
                    let session = &mut model.sessions[pick % 3];
                    if session.at.take().is_some() {
                        model.hub.unsubscribe(&conv(), session.probe.id);
                        session.probe.calls.take();
                    }
                }
            }
            model.check()?;
        }
        // Everything under way arrives: every subscriber is at the end.
        for _ in 0..1_500 {
            model.send(false);
            model.admit_loss();
            model.carry_out();
            model.take();
            model.check()?;
        }
        for session in &model.sessions {
            prop_assert!(session.subscribing.is_none());
            prop_assert!(session.at.is_none_or(|at| at == model.end()), "{:?} of {}", session.at, model.end());
        }
    }
}
