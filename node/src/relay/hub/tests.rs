//! A worker's hub against a relay that is played by hand.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::conversation::timeline::Published;

struct Ears {
    id: u64,
    user: UserId,
    seen: RefCell<Vec<u64>>,
    joined: RefCell<Vec<ConvId>>,
}

impl Subscriber for Ears {
    fn id(&self) -> u64 {
        self.id
    }
    fn user(&self) -> &UserId {
        &self.user
    }
    fn event(&self, published: &Published) {
        self.seen.borrow_mut().push(published.seq);
    }
    fn joined(&self, conv: &ConvId) {
        self.joined.borrow_mut().push(conv.clone());
    }
}

/// A hub whose notices are taken at once, and the orders that it gave.
struct Stage {
    hub: LocalHub,
    orders: mpsc::UnboundedReceiver<Control>,
}

fn ears(id: u64, name: &str) -> Rc<Ears> {
    let user = UserId::parse(name).unwrap();
    Rc::new(Ears {
        id,
        user,
        seen: RefCell::default(),
        joined: RefCell::default(),
    })
}

fn conv() -> ConvId {
    ConvId::parse("g_1").unwrap()
}

fn event(seq: u64) -> Published {
    Published {
        conv: conv(),
        seq,
        tail: Bytes::new(),
        removes: None,
        adds: None,
        skip: 0,
        only: None,
    }
}

impl Stage {
    fn new() -> Stage {
        let (hub, orders) = LocalHub::build();
        Stage { hub, orders }
    }

    async fn take(&self, notice: Notice) {
        self.hub.hub.take(notice).await;
    }

    async fn event(&self, event: Published) {
        self.take(Notice::Event(Arc::new(event))).await;
    }

    /// The ticket of the subscription that was ordered.
    fn ticket(&mut self) -> u64 {
        match self.orders.try_recv().unwrap() {
            Control::Subscribe { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        }
    }
}

#[actix::test]
async fn events_begin_behind_the_position_that_was_read() {
    let mut stage = Stage::new();
    let bob = ears(1, "bob");
    let subscribed = stage.hub.subscribe(&conv(), bob.clone());
    let ticket = stage.ticket();
    stage
        .take(Notice::Live {
            conv: conv(),
            as_of: 4,
        })
        .await;
    stage.event(event(5)).await;
    // The owner had read further than the stream has come.
    stage
        .take(Notice::Admitted {
            ticket,
            result: Ok(6),
        })
        .await;
    assert_eq!(subscribed.await, Ok(6));
    for seq in 6..=8 {
        stage.event(event(seq)).await;
    }
    assert_eq!(*bob.seen.borrow(), [7, 8]);
    // Another session of the same user begins where the stream is, without a question.
    let second = ears(2, "bob");
    assert_eq!(stage.hub.subscribe(&conv(), second.clone()).await, Ok(8));
    stage.event(event(9)).await;
    assert_eq!(*second.seen.borrow(), [9]);
}

#[actix::test]
async fn a_removal_above_the_proof_counts_more() {
    let mut stage = Stage::new();
    let bob = ears(1, "bob");
    let subscribed = stage.hub.subscribe(&conv(), bob.clone());
    let ticket = stage.ticket();
    stage
        .take(Notice::Live {
            conv: conv(),
            as_of: 4,
        })
        .await;
    stage
        .event(Published {
            removes: Some(bob.user.clone()),
            ..event(5)
        })
        .await;
    stage
        .take(Notice::Admitted {
            ticket,
            result: Ok(4),
        })
        .await;
    assert_eq!(subscribed.await, Err(Refusal::not_member()));
    stage.event(event(6)).await;
    assert!(bob.seen.borrow().is_empty());
    assert_eq!(stage.hub.conversations(), 0);
}

#[actix::test]
async fn the_removal_is_the_last_event_of_the_removed() {
    let mut stage = Stage::new();
    let (alice, bob) = (ears(1, "alice"), ears(2, "bob"));
    for who in [&alice, &bob] {
        let subscribed = stage.hub.subscribe(&conv(), who.clone());
        let ticket = stage.ticket();
        stage
            .take(Notice::Live {
                conv: conv(),
                as_of: 0,
            })
            .await;
        stage
            .take(Notice::Admitted {
                ticket,
                result: Ok(0),
            })
            .await;
        subscribed.await.unwrap();
    }
    stage.event(event(1)).await;
    stage
        .event(Published {
            removes: Some(bob.user.clone()),
            ..event(2)
        })
        .await;
    stage.event(event(3)).await;
    assert_eq!(*alice.seen.borrow(), [1, 2, 3]);
    assert_eq!(*bob.seen.borrow(), [1, 2]);
}

#[actix::test]
async fn an_overflow_is_made_good() {
    let mut stage = Stage::new();
    let bob = ears(1, "bob");
    let subscribed = stage.hub.subscribe(&conv(), bob.clone());
    let ticket = stage.ticket();
    stage
        .take(Notice::Live {
            conv: conv(),
            as_of: 0,
        })
        .await;
    stage
        .take(Notice::Admitted {
            ticket,
            result: Ok(0),
        })
        .await;
    subscribed.await.unwrap();
    stage.event(event(1)).await;
    // 2 to 4 are dropped; 5 comes before the answer.
    stage.take(Notice::Overflow).await;
    assert!(matches!(
        stage.orders.try_recv().unwrap(),
        Control::Pull { after: 1, .. }
    ));
    stage.event(event(5)).await;
    stage
        .take(Notice::Pulled {
            conv: conv(),
            events: vec![Arc::new(event(2))],
            last: 4,
        })
        .await;
    assert!(matches!(
        stage.orders.try_recv().unwrap(),
        Control::Pull { after: 2, .. }
    ));
    let rest = vec![Arc::new(event(3)), Arc::new(event(4))];
    stage
        .take(Notice::Pulled {
            conv: conv(),
            events: rest,
            last: 5,
        })
        .await;
    assert_eq!(*bob.seen.borrow(), [1, 2, 3, 4, 5]);
    assert!(stage.orders.try_recv().is_err(), "nothing is missing");
}

#[actix::test]
async fn a_subscription_that_nobody_waits_for_leaves_nothing_behind() {
    let mut stage = Stage::new();
    let bob = ears(1, "bob");
    drop(stage.hub.subscribe(&conv(), bob.clone()));
    let ticket = stage.ticket();
    stage
        .take(Notice::Live {
            conv: conv(),
            as_of: 0,
        })
        .await;
    stage
        .take(Notice::Admitted {
            ticket,
            result: Ok(0),
        })
        .await;
    assert_eq!(stage.hub.conversations(), 0);
    assert!(matches!(
        stage.orders.try_recv().unwrap(),
        Control::Unsubscribe { .. }
    ));

    // Given up by name while it waits.
    let subscribed = stage.hub.subscribe(&conv(), bob.clone());
    let ticket = stage.ticket();
    stage.hub.unsubscribe(&conv(), bob.id);
    stage
        .take(Notice::Admitted {
            ticket,
            result: Ok(0),
        })
        .await;
    assert!(subscribed.await.is_err());
    assert_eq!(stage.hub.conversations(), 0);
}

#[actix::test]
async fn a_user_is_told_of_what_it_has_not_subscribed_to() {
    let mut stage = Stage::new();
    let bob = ears(1, "bob");
    stage.hub.attach(&bob.user, bob.clone());
    assert!(matches!(stage.orders.try_recv().unwrap(), Control::Attach { .. }));
    let joined = || Notice::Joined {
        user: UserId::parse("bob").unwrap(),
        conv: conv(),
    };
    stage.take(joined()).await;
    let _subscribed = stage.hub.subscribe(&conv(), bob.clone());
    stage.take(joined()).await;
    assert_eq!(bob.joined.borrow().len(), 1, "the second time it is on its way");
    stage.hub.detach(&bob.user, bob.id);
    stage.take(joined()).await;
    assert_eq!(bob.joined.borrow().len(), 1);
}
