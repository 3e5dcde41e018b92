//! Order and completeness of the responses of an owner.

use protocol::response::LastEvent;

use super::*;
use crate::rpc::register::Unlogged;
use crate::state_machine::PlacedEntry;

#[test]
fn users_left_out_of_a_response_are_requested_again() {
    let mut model = Model::new();
    let users: Vec<UserId> = (0..5).map(|n| UserId::parse(&format!("u{n}")).unwrap()).collect();
    for user in &users {
        model.relay.content.attach(1, user);
    }
    let mut delivered = Vec::new();
    while model.relay.due(model.now).is_some() {
        let (id, question) = model.relay.next_request(model.epoch, model.now);
        let InterestRequest::Register(wants) = question else {
            panic!("{question:?}")
        };
        let placed = PlacedEntry {
            conv: conv(0),
            ms: 9,
            since_ms: 8,
            last: LastEvent::default(),
            large: false,
        };
        let answer = InterestRegistered {
            convs: Vec::new(),
            admits: Vec::new(),
            indexes: wants.users.iter().take(2).map(|_| vec![placed.clone()]).collect(),
            recent: Vec::new(),
        };
        model
            .relay
            .on_response(id, Some(answer), model.now, &mut model.workers);
        model.workers.flush();
        while let Ok(batch) = model.events[0].1.try_recv() {
            delivered.extend(batch.into_iter().map(|event| match event {
                HubEvent::Index { user, .. } => user,
                other => panic!("{other:?}"),
            }));
        }
    }
    assert_eq!(delivered, users, "each once");
}

#[test]
fn events_before_a_registration_come_before_later_ones() {
    let mut model = Model::new();
    model.relay.content.subscribe(1, &conv(0), &mut model.workers);
    let unlogged = |text: &'static str| Unlogged {
        conv: conv(0),
        tail: Bytes::from_static(text.as_bytes()),
        skip: 0,
        only: None,
    };
    let unlogged_event = |text: &str| {
        Arc::new(EventEnvelope {
            tail: Bytes::copy_from_slice(text.as_bytes()),
            ..EventEnvelope::replay(conv(0), logged(0))
        })
    };
    for round in 0..2 {
        let (id, _) = model.relay.next_request(model.epoch, model.now);
        // It arrives before the response, by another path.
        let to = DeliveryTarget {
            shard: 0,
            epoch: model.epoch,
            registration: model.draws,
            fo: 1,
        };
        let what = Delivered::Event(unlogged_event("after"));
        let delivery = OwnerDelivery { to, what };
        assert!(model.relay.deliver(delivery, model.now, &mut model.workers));
        let answer = InterestRegistered {
            convs: vec![CaughtUp {
                last: 0,
                events: Vec::new(),
            }],
            admits: Vec::new(),
            indexes: Vec::new(),
            recent: vec![unlogged("before")],
        };
        model
            .relay
            .on_response(id, Some(answer), model.now, &mut model.workers);
        model.workers.flush();
        let mut delivered = Vec::new();
        while let Ok(batch) = model.events[0].1.try_recv() {
            delivered.extend(batch.into_iter().filter_map(|event| match event {
                HubEvent::Event(event) => Some(String::from_utf8(event.tail.to_vec()).unwrap()),
                _ => None,
            }));
        }
        // A new subscriber receives them with its admission.
        let expected: &[&str] = if round == 0 {
            &["after"]
        } else {
            &["before", "after"]
        };
        assert_eq!(delivered, expected);
        model.mark_stale();
    }
}

#[test]
fn new_interest_is_registered_before_old_one_is_released() {
    let (now, mut workers) = (Instant::now(), HubWorkers::default());
    let mut relay = registration(now);
    let mut answer = |relay: &mut InterestRegistration, id, register: Option<RegisterInterest>| {
        let registered = register.map(|register| InterestRegistered {
            convs: vec![
                CaughtUp {
                    last: 3,
                    events: Vec::new()
                };
                register.convs.len()
            ],
            admits: Vec::new(),
            indexes: Vec::new(),
            recent: Vec::new(),
        });
        relay.on_response(id, registered, now, &mut workers);
    };
    let mut given_back = Vec::new();
    for (came, went) in [(0, None), (1, Some(0)), (0, Some(1)), (2, Some(0))] {
        relay
            .content
            .subscribe(1, &conv(came), &mut HubWorkers::default());
        if let Some(went) = went {
            relay.content.unsubscribe(1, &conv(went));
        }
        let (id, question) = relay.next_request(5, now);
        let (id, question) = match question {
            InterestRequest::Unregister(gone) => {
                given_back.extend(gone.convs);
                answer(&mut relay, id, None);
                relay.next_request(5, now)
            }
            question => (id, question),
        };
        let InterestRequest::Register(register) = question else {
            panic!("two in a row that give back")
        };
        assert_eq!(register.convs, [(conv(came), None)]);
        answer(&mut relay, id, Some(register));
    }
    // One came again before it was given back; when it went again, who came then was first.
    assert_eq!(given_back, [conv(1)]);
    let (_, InterestRequest::Unregister(last)) = relay.next_request(5, now) else {
        panic!("what went last is given back")
    };
    assert_eq!(last.convs, [conv(0)]);
}
