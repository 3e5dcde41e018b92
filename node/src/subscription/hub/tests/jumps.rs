//! Jumps of the stream over trimmed events, and the membership checks that they require.

use super::*;

/// The stream jumps from 1 to the rest of the log, which begins at `first`.
async fn jump(fixture: &mut HubFixture, first: u64, last: u64) {
    fixture.take(HubEvent::Overflow).await;
    assert!(matches!(
        fixture.orders.try_recv().unwrap(),
        HubCommand::Pull { after: 1, .. }
    ));
    let events = (first..=last).map(|seq| Arc::new(event(seq))).collect();
    fixture
        .take(HubEvent::Pulled {
            conv: conv(),
            after: 1,
            events,
            last,
        })
        .await;
}

#[actix::test]
async fn after_a_jump_calls_wait_for_the_membership_check() {
    let mut fixture = HubFixture::new();
    let all = [
        subscriber(1, "alice"),
        subscriber(2, "bob"),
        subscriber(3, "bob"),
        subscriber(4, "carol"),
    ];
    for who in &all {
        listening(&mut fixture, who).await;
    }
    let [alice, bob, laptop, carol] = &all;
    fixture.event(event(1)).await;
    jump(&mut fixture, 20, 22).await;
    fixture.event(event(23)).await;
    let tickets: Vec<u64> = all.iter().map(|_| fixture.ticket()).collect();
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
    // One proof is older than the jump, and the owner cannot be asked for another one.
    let old = Proof { at: 9, ..member(9) };
    for (ticket, result) in tickets.iter().zip([
        Ok(member(21)),
        Ok(old),
        Err(CommandError::unavailable()),
        Ok(again),
    ]) {
        fixture.take(admitted(*ticket, result)).await;
    }
    for ticket in &tickets[1..3] {
        assert_eq!(fixture.ticket(), *ticket, "asked again");
        fixture.take(admitted(*ticket, Ok(nothing))).await;
    }
    fixture.event(event(24)).await;
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
async fn a_join_wins_over_an_older_refusal_in_flight() {
    let mut fixture = HubFixture::new();
    let bob = subscriber(1, "bob");
    fixture.hub.attach(&bob.user, bob.clone());
    assert!(matches!(
        fixture.orders.try_recv().unwrap(),
        HubCommand::Attach { .. }
    ));
    let subscribed = fixture.hub.subscribe(&conv(), bob.clone());
    let ticket = fixture.ticket();
    fixture
        .take(HubEvent::Joined {
            user: bob.user.clone(),
            conv: conv(),
        })
        .await;
    let result = Ok(Proof {
        since: None,
        ..member(4)
    });
    fixture.take(admitted(ticket, result)).await;
    assert!(subscribed.await.is_err());
    assert_eq!(*bob.joined.borrow(), [conv()]);
}
