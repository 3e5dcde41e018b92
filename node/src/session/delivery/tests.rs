//! Delivered cursors, activity and exports of a session, without an actor.

use std::rc::Weak;

use protocol::response::LastEvent;

use super::*;
use crate::config::Config;
use crate::session::CloseSocket;
use crate::subscription::Subscriber;
use crate::telemetry::metrics::ServerMetrics;

const INTERVAL: Duration = Duration::from_secs(1);

struct NoSocket;

impl CloseSocket for NoSocket {
    fn cut(&self) {}
}

fn conv() -> ConversationId {
    ConversationId::parse("g_1").unwrap()
}

/// Delivery of a client that follows `conv` and has received its events up to seq `last`.
fn delivery(last: u64) -> Delivery {
    let socket: Weak<dyn CloseSocket> = Weak::<NoSocket>::new();
    let queue = OutboundQueue::new(QueueBounds::from(&Config::default()));
    let connection = ConnectionHandle::new(queue, socket);
    let user = "alice".parse().unwrap();
    let subscriber = EventSubscriber::new(1, user, connection.clone(), ServerMetrics::default());
    subscriber.set_ready();
    for s in 1..=last {
        subscriber.push(Bytes::from_static(br#""t":"msg"}"#), Some((&conv(), s)));
    }
    let mut delivery = Delivery::new(connection, INTERVAL);
    delivery.attach(subscriber);
    delivery
}

#[test]
fn confirmed_events_are_reported_once_after_the_interval() {
    let (mut delivery, now) = (delivery(3), Instant::now());
    delivery.confirm(1, now);
    delivery.confirm(2, now + INTERVAL / 2);
    assert_eq!(delivery.report_at(), Some(now + INTERVAL));
    assert!(!delivery.is_report_due(now) && delivery.is_report_due(now + INTERVAL));
    assert_eq!(delivery.take_cursors(), [(conv(), 2)]);
    assert_eq!((delivery.report_at(), delivery.take_cursors()), (None, vec![]));
}

#[test]
fn pong_moves_cursors_and_keeps_the_events() {
    let (mut delivery, now) = (delivery(3), Instant::now());
    delivery.deliver(2, now);
    assert_eq!(delivery.report_at(), Some(now + INTERVAL));
    assert_eq!(delivery.take_cursors(), [(conv(), 2)]);
    assert_eq!(delivery.events_after(0).unwrap().len(), 3);
    delivery.deliver(2, now);
    assert_eq!(delivery.report_at(), None, "the pong says nothing new");
}

#[test]
fn refused_cursor_is_reported_again() {
    let (mut delivery, now) = (delivery(3), Instant::now());
    delivery.confirm(3, now);
    delivery.take_cursors();
    delivery.restore_cursor(conv(), 3, now);
    assert_eq!(delivery.pending_cursors(), [(conv(), 3)]);
    assert_eq!(delivery.report_at(), Some(now + INTERVAL));
}

#[test]
fn cursors_of_the_resumed_session_are_reported_by_the_successor() {
    let (mut delivery, now) = (delivery(0), Instant::now());
    delivery.inherit(vec![(conv(), 7)], now);
    assert!(delivery.is_report_due(now + INTERVAL));
    assert_eq!(delivery.take_cursors(), [(conv(), 7)]);
}

#[test]
fn concurrent_activity_subscriptions_are_bounded() {
    let mut delivery = delivery(0);
    let subscriber = delivery.subscriber().unwrap().clone();
    for n in 0..20 {
        let conv = ConversationId::parse(&format!("g_{n}")).unwrap();
        subscriber.active(
            &conv,
            LastEvent {
                seq: 1,
                message_number: 1,
                timestamp_ms: 1,
            },
        );
    }
    assert_eq!(delivery.take_active().len(), ACTIVITY_SUBSCRIPTIONS);
    assert_eq!(delivery.take_active(), []);
    delivery.end_activity();
    assert_eq!(delivery.take_active().len(), 1);
}

#[test]
fn close_event_is_not_exported() {
    let delivery = delivery(2);
    let subscriber = delivery.subscriber().unwrap();
    subscriber.push(Bytes::from_static(br#""t":"bye"}"#), None);
    subscriber.push(Bytes::from_static(br#""t":"msg"}"#), Some((&conv(), 3)));
    let events = delivery.events_after(1).unwrap();
    let covers = events.into_iter().map(|event| event.covers);
    assert_eq!(covers.collect::<Vec<_>>(), [Some((conv(), 2)), Some((conv(), 3))]);
    assert_eq!(delivery.events_after(9).err(), Some(Gap));
}
