//! A worker's hub against a subscription manager that the test plays.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::rpc::register::Proof;
use crate::state_machine::EventEnvelope;
use crate::subscription::hub_event::HubEvent;

mod jumps;

struct RecordingSubscriber {
    id: u64,
    user: UserId,
    seen: RefCell<Vec<u64>>,
    joined: RefCell<Vec<ConversationId>>,
    /// Positions behind jumps.
    jumped: RefCell<Vec<u64>>,
    ended: RefCell<u64>,
}

impl Subscriber for RecordingSubscriber {
    fn id(&self) -> u64 {
        self.id
    }
    fn user(&self) -> &UserId {
        &self.user
    }
    fn event(&self, published: &EventEnvelope) {
        self.seen.borrow_mut().push(published.seq);
    }
    fn jumped(&self, _: &ConversationId, at: u64) {
        self.jumped.borrow_mut().push(at);
    }
    fn ended(&self, _: &ConversationId) {
        *self.ended.borrow_mut() += 1;
    }
    fn joined(&self, conv: &ConversationId) {
        self.joined.borrow_mut().push(conv.clone());
    }
}

/// Hub whose notices are processed at once, and the commands that it sent.
struct HubFixture {
    hub: SubscriptionHub,
    orders: mpsc::UnboundedReceiver<HubCommand>,
}

fn subscriber(id: u64, name: &str) -> Rc<RecordingSubscriber> {
    let user = UserId::parse(name).unwrap();
    Rc::new(RecordingSubscriber {
        id,
        user,
        seen: RefCell::default(),
        joined: RefCell::default(),
        jumped: RefCell::default(),
        ended: RefCell::default(),
    })
}

fn member(at: u64) -> Proof {
    Proof {
        at,
        since: Some(0),
        history: protocol::HistoryVisibility::All,
    }
}

fn conv() -> ConversationId {
    ConversationId::parse("g_1").unwrap()
}

fn event(seq: u64) -> EventEnvelope {
    EventEnvelope {
        conv: conv(),
        seq,
        tail: Bytes::new(),
        removes: None,
        adds: None,
        skip: 0,
        only: None,
    }
}

impl HubFixture {
    fn new() -> HubFixture {
        let (hub, orders) = SubscriptionHub::build();
        HubFixture { hub, orders }
    }

    async fn take(&self, event: HubEvent) {
        self.hub.hub.take(event).await;
    }

    async fn event(&self, event: EventEnvelope) {
        self.take(HubEvent::Event(Arc::new(event))).await;
    }

    /// Returns the ticket of the requested subscription.
    fn ticket(&mut self) -> u64 {
        match self.orders.try_recv().unwrap() {
            HubCommand::Subscribe { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        }
    }
}

#[actix::test]
async fn events_begin_behind_the_position_that_was_read() {
    let mut fixture = HubFixture::new();
    let bob = subscriber(1, "bob");
    let subscribed = fixture.hub.subscribe(&conv(), bob.clone());
    let ticket = fixture.ticket();
    fixture
        .take(HubEvent::Live {
            conv: conv(),
            as_of: 4,
        })
        .await;
    fixture.event(event(5)).await;
    // The owner has read further than the stream has come.
    fixture
        .take(HubEvent::Admitted {
            ticket,
            result: Ok(member(6)),
            recent: Vec::new(),
        })
        .await;
    assert_eq!(subscribed.await, Ok(6));
    for seq in 6..=8 {
        fixture.event(event(seq)).await;
    }
    assert_eq!(*bob.seen.borrow(), [7, 8]);
    // An existing subscriber gets its position without a request.
    assert_eq!(fixture.hub.subscribe(&conv(), bob.clone()).await, Ok(8));
    fixture.event(event(9)).await;
    assert_eq!(*bob.seen.borrow(), [7, 8, 9]);
}

#[actix::test]
async fn a_removal_above_the_proof_counts_more() {
    let mut fixture = HubFixture::new();
    let bob = subscriber(1, "bob");
    let subscribed = fixture.hub.subscribe(&conv(), bob.clone());
    let ticket = fixture.ticket();
    fixture
        .take(HubEvent::Live {
            conv: conv(),
            as_of: 4,
        })
        .await;
    fixture
        .event(EventEnvelope {
            removes: Some(bob.user.clone()),
            ..event(5)
        })
        .await;
    fixture
        .take(HubEvent::Admitted {
            ticket,
            result: Ok(member(4)),
            recent: Vec::new(),
        })
        .await;
    assert_eq!(subscribed.await, Err(CommandError::not_member()));
    fixture.event(event(6)).await;
    assert!(bob.seen.borrow().is_empty());
    assert_eq!(fixture.hub.conversations(), 0);
}

#[actix::test]
async fn the_removal_is_the_last_event_of_the_removed() {
    let mut fixture = HubFixture::new();
    let (alice, bob) = (subscriber(1, "alice"), subscriber(2, "bob"));
    for who in [&alice, &bob] {
        let subscribed = fixture.hub.subscribe(&conv(), who.clone());
        let ticket = fixture.ticket();
        fixture
            .take(HubEvent::Live {
                conv: conv(),
                as_of: 0,
            })
            .await;
        fixture
            .take(HubEvent::Admitted {
                ticket,
                result: Ok(member(0)),
                recent: Vec::new(),
            })
            .await;
        subscribed.await.unwrap();
    }
    fixture.event(event(1)).await;
    fixture
        .event(EventEnvelope {
            removes: Some(bob.user.clone()),
            ..event(2)
        })
        .await;
    fixture.event(event(3)).await;
    assert_eq!(*alice.seen.borrow(), [1, 2, 3]);
    assert_eq!(*bob.seen.borrow(), [1, 2]);
}

#[actix::test]
async fn an_overflow_is_made_good() {
    let mut fixture = HubFixture::new();
    let bob = subscriber(1, "bob");
    let subscribed = fixture.hub.subscribe(&conv(), bob.clone());
    let ticket = fixture.ticket();
    fixture
        .take(HubEvent::Live {
            conv: conv(),
            as_of: 0,
        })
        .await;
    fixture
        .take(HubEvent::Admitted {
            ticket,
            result: Ok(member(0)),
            recent: Vec::new(),
        })
        .await;
    subscribed.await.unwrap();
    fixture.event(event(1)).await;
    // 2 to 4 are dropped; 5 arrives before the range.
    fixture.take(HubEvent::Overflow).await;
    assert!(matches!(
        fixture.orders.try_recv().unwrap(),
        HubCommand::Pull { after: 1, .. }
    ));
    fixture.event(event(5)).await;
    fixture
        .take(HubEvent::Pulled {
            conv: conv(),
            after: 1,
            events: vec![Arc::new(event(2))],
            last: 4,
        })
        .await;
    assert!(matches!(
        fixture.orders.try_recv().unwrap(),
        HubCommand::Pull { after: 2, .. }
    ));
    let rest = vec![Arc::new(event(3)), Arc::new(event(4))];
    fixture
        .take(HubEvent::Pulled {
            conv: conv(),
            after: 2,
            events: rest,
            last: 5,
        })
        .await;
    assert_eq!(*bob.seen.borrow(), [1, 2, 3, 4, 5]);
    assert!(fixture.orders.try_recv().is_err(), "nothing is missing");
}

#[actix::test]
async fn range_of_an_earlier_subscription_skips_no_event() {
    let mut fixture = HubFixture::new();
    let bob = subscriber(1, "bob");
    listening(&mut fixture, &bob).await;
    fixture.event(event(1)).await;
    // It was requested behind 3, by a subscription that has ended.
    fixture
        .take(HubEvent::Pulled {
            conv: conv(),
            after: 3,
            events: vec![Arc::new(event(4))],
            last: 4,
        })
        .await;
    assert!(matches!(
        fixture.orders.try_recv().unwrap(),
        HubCommand::Pull { after: 1, .. }
    ));
    let rest = (2..=4).map(|seq| Arc::new(event(seq))).collect();
    fixture
        .take(HubEvent::Pulled {
            conv: conv(),
            after: 1,
            events: rest,
            last: 4,
        })
        .await;
    assert_eq!(*bob.seen.borrow(), [1, 2, 3, 4]);
}

fn admitted(ticket: u64, result: Result<Proof, CommandError>) -> HubEvent {
    let recent = Vec::new();
    HubEvent::Admitted {
        ticket,
        result,
        recent,
    }
}

/// Subscribes at the start of the log.
async fn listening(fixture: &mut HubFixture, who: &Rc<RecordingSubscriber>) {
    let subscribed = fixture.hub.subscribe(&conv(), who.clone());
    let ticket = fixture.ticket();
    fixture
        .take(HubEvent::Live {
            conv: conv(),
            as_of: 0,
        })
        .await;
    let result = Ok(member(0));
    fixture.take(admitted(ticket, result)).await;
    subscribed.await.unwrap();
}

#[actix::test]
async fn a_dropped_subscription_leaves_nothing_behind() {
    let mut fixture = HubFixture::new();
    let bob = subscriber(1, "bob");
    drop(fixture.hub.subscribe(&conv(), bob.clone()));
    let ticket = fixture.ticket();
    fixture
        .take(HubEvent::Live {
            conv: conv(),
            as_of: 0,
        })
        .await;
    fixture
        .take(HubEvent::Admitted {
            ticket,
            result: Ok(member(0)),
            recent: Vec::new(),
        })
        .await;
    assert_eq!(fixture.hub.conversations(), 0);
    assert!(matches!(
        fixture.orders.try_recv().unwrap(),
        HubCommand::Unsubscribe { .. }
    ));

    // Cancelled while it is pending.
    let subscribed = fixture.hub.subscribe(&conv(), bob.clone());
    let ticket = fixture.ticket();
    fixture.hub.unsubscribe(&conv(), bob.id);
    fixture
        .take(HubEvent::Admitted {
            ticket,
            result: Ok(member(0)),
            recent: Vec::new(),
        })
        .await;
    assert!(subscribed.await.is_err());
    assert_eq!(fixture.hub.conversations(), 0);
}

#[actix::test]
async fn joined_is_called_for_unsubscribed_conversations() {
    let mut fixture = HubFixture::new();
    let bob = subscriber(1, "bob");
    fixture.hub.attach(&bob.user, bob.clone());
    assert!(matches!(
        fixture.orders.try_recv().unwrap(),
        HubCommand::Attach { .. }
    ));
    let joined = || HubEvent::Joined {
        user: UserId::parse("bob").unwrap(),
        conv: conv(),
    };
    fixture.take(joined()).await;
    let _subscribed = fixture.hub.subscribe(&conv(), bob.clone());
    fixture.take(joined()).await;
    assert_eq!(bob.joined.borrow().len(), 1, "the second time it is on its way");
    fixture.hub.detach(&bob.user, bob.id);
    fixture.take(joined()).await;
    assert_eq!(bob.joined.borrow().len(), 1);
}
