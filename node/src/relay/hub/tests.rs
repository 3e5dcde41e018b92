//! A worker's hub against a relay that is played by hand.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::conversation::timeline::Published;
use crate::rpc::register::Proof;

struct Ears {
    id: u64,
    user: UserId,
    seen: RefCell<Vec<u64>>,
    joined: RefCell<Vec<ConvId>>,
    /// Positions behind jumps.
    jumped: RefCell<Vec<u64>>,
    ended: RefCell<u64>,
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
    fn jumped(&self, _: &ConvId, at: u64) {
        self.jumped.borrow_mut().push(at);
    }
    fn ended(&self, _: &ConvId) {
        *self.ended.borrow_mut() += 1;
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
        jumped: RefCell::default(),
        ended: RefCell::default(),
    })
}

fn member(at: u64) -> Proof {
    Proof {
        at,
        since: Some(0),
        history: protocol::History::All,
    }
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
            result: Ok(member(6)),
            recent: Vec::new(),
        })
        .await;
    assert_eq!(subscribed.await, Ok(6));
    for seq in 6..=8 {
        stage.event(event(seq)).await;
    }
    assert_eq!(*bob.seen.borrow(), [7, 8]);
    // One that listens is told where it is, without a question.
    assert_eq!(stage.hub.subscribe(&conv(), bob.clone()).await, Ok(8));
    stage.event(event(9)).await;
    assert_eq!(*bob.seen.borrow(), [7, 8, 9]);
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
            result: Ok(member(4)),
            recent: Vec::new(),
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
                result: Ok(member(0)),
                recent: Vec::new(),
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
            result: Ok(member(0)),
            recent: Vec::new(),
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

fn admitted(ticket: u64, result: Result<Proof, Refusal>) -> Notice {
    let recent = Vec::new();
    Notice::Admitted {
        ticket,
        result,
        recent,
    }
}

/// Subscribed at the beginning.
async fn listening(stage: &mut Stage, who: &Rc<Ears>) {
    let subscribed = stage.hub.subscribe(&conv(), who.clone());
    let ticket = stage.ticket();
    stage
        .take(Notice::Live {
            conv: conv(),
            as_of: 0,
        })
        .await;
    let result = Ok(member(0));
    stage.take(admitted(ticket, result)).await;
    subscribed.await.unwrap();
}

/// The stream goes from 1 to what is left of the log, which begins at `first`.
async fn jump(stage: &mut Stage, first: u64, last: u64) {
    stage.take(Notice::Overflow).await;
    assert!(matches!(
        stage.orders.try_recv().unwrap(),
        Control::Pull { after: 1, .. }
    ));
    let events = (first..=last).map(|seq| Arc::new(event(seq))).collect();
    stage
        .take(Notice::Pulled {
            conv: conv(),
            events,
            last,
        })
        .await;
}

#[actix::test]
async fn behind_a_jump_nobody_is_called_before_the_owner_has_said_who_is_a_member() {
    let mut stage = Stage::new();
    let all = [ears(1, "alice"), ears(2, "bob"), ears(3, "bob"), ears(4, "carol")];
    for who in &all {
        listening(&mut stage, who).await;
    }
    let [alice, bob, laptop, carol] = &all;
    stage.event(event(1)).await;
    jump(&mut stage, 20, 22).await;
    stage.event(event(23)).await;
    let tickets: Vec<u64> = all.iter().map(|_| stage.ticket()).collect();
    assert!(
        all.iter().all(|who| *who.seen.borrow() == [1]),
        "nobody is called yet"
    );
    let nothing = Proof {
        since: None,
        ..member(22)
    };
    let again = Proof {
        at: 22,
        since: Some(15),
        ..member(0)
    };
    // One proof is older than the jump, and the owner can't be asked for another.
    let old = Proof { at: 9, ..member(9) };
    for (ticket, result) in
        tickets
            .iter()
            .zip([Ok(member(21)), Ok(old), Err(Refusal::unavailable()), Ok(again)])
    {
        stage.take(admitted(*ticket, result)).await;
    }
    for ticket in &tickets[1..3] {
        assert_eq!(stage.ticket(), *ticket, "asked again");
        stage.take(admitted(*ticket, Ok(nothing))).await;
    }
    stage.event(event(24)).await;
    assert_eq!(
        (&*alice.seen.borrow(), &*alice.jumped.borrow()),
        (&vec![1, 24], &vec![23])
    );
    for who in [bob, laptop] {
        assert_eq!((&*who.seen.borrow(), *who.ended.borrow()), (&vec![1], 1));
        assert!(who.joined.borrow().is_empty());
    }
    assert_eq!((&*carol.seen.borrow(), *carol.ended.borrow()), (&vec![1], 1));
    assert_eq!(
        *carol.joined.borrow(),
        [conv()],
        "brought in again, it is new to the session"
    );
}

#[actix::test]
async fn one_who_is_brought_in_while_an_older_refusal_is_under_way_is_told() {
    let mut stage = Stage::new();
    let bob = ears(1, "bob");
    stage.hub.attach(&bob.user, bob.clone());
    assert!(matches!(stage.orders.try_recv().unwrap(), Control::Attach { .. }));
    let subscribed = stage.hub.subscribe(&conv(), bob.clone());
    let ticket = stage.ticket();
    stage
        .take(Notice::Joined {
            user: bob.user.clone(),
            conv: conv(),
        })
        .await;
    let result = Ok(Proof {
        since: None,
        ..member(4)
    });
    stage.take(admitted(ticket, result)).await;
    assert!(subscribed.await.is_err());
    assert_eq!(*bob.joined.borrow(), [conv()]);
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
            result: Ok(member(0)),
            recent: Vec::new(),
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
            result: Ok(member(0)),
            recent: Vec::new(),
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
