use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::config::Config;
use crate::session::QueueBounds;
use crate::session::delivery::BufferedEvent;

struct NoSocket;

impl CloseSocket for NoSocket {
    fn cut(&self) {}
}

/// Writes each event as one byte.
struct Bytewise;

impl Framing for Bytewise {
    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        out.extend_from_slice(body);
    }
    fn event(&self, out: &mut BytesMut, _n: u64, _tail: &[u8]) {
        out.extend_from_slice(b"e");
    }
    fn ping(&self, _out: &mut BytesMut, _sent: u64) {}
    fn confirms_by_pong(&self) -> bool {
        true
    }
    fn pong(&self, _out: &mut BytesMut, _payload: &[u8]) {}
    fn close(&self, _out: &mut BytesMut, _code: Option<u16>, _reason: &str) {}
}

fn write(link: &ConnectionHandle, events: usize) {
    for _ in 0..events {
        let tail = Bytes::from_static(br#""t":"msg"}"#);
        link.outbox(|outbox| outbox.event(BufferedEvent { tail, covers: None }, Instant::now()));
    }
    let written = link.poll_piece(&mut Context::from_waker(Waker::noop()), &Bytewise);
    assert!(written.is_ready());
}

#[test]
fn event_stays_unconfirmed_until_a_ping_or_a_confirmation() {
    let socket: Weak<dyn CloseSocket> = Weak::<NoSocket>::new();
    let link = ConnectionHandle::new(OutboundQueue::new(QueueBounds::from(&Config::default())), socket);
    let later = Instant::now() + Duration::from_secs(60);
    assert_eq!(link.unconfirmed_for(later), None);
    write(&link, 2);
    assert!(link.unconfirmed_for(later).is_some());
    link.confirm(1);
    assert!(link.unconfirmed_for(later).is_some(), "the second is unconfirmed");
    link.confirm(2);
    assert_eq!(link.unconfirmed_for(later), None);
    write(&link, 1);
    link.ping();
    assert_eq!(link.unconfirmed_for(later), None, "one ping is enough");
    for (pong, ponged) in [(4, 0), (2, 2), (1, 2), (3, 3)] {
        link.on_pong(pong);
        assert_eq!(link.ponged(), ponged);
    }
}

/// Counts the wake-ups of a task.
#[derive(Default)]
struct WakeCounter(AtomicUsize);

impl Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn later_confirmations_are_read_together() {
    let socket: Weak<dyn CloseSocket> = Weak::<NoSocket>::new();
    let link = ConnectionHandle::new(OutboundQueue::new(QueueBounds::from(&Config::default())), socket);
    let counter = Arc::new(WakeCounter::default());
    let waker = Waker::from(counter.clone());
    let mut cx = Context::from_waker(&waker);
    let patience = Duration::from_secs(1);
    write(&link, 4);
    link.set_due(Instant::now() + patience * 60);
    assert!(!link.poll_wake(&mut cx));
    assert_eq!(link.take_confirmation(), None);
    link.on_confirmed(0, patience);
    assert_eq!(
        counter.0.load(Ordering::Relaxed),
        1,
        "the client uses the session"
    );
    assert!(link.poll_wake(&mut cx));
    assert_eq!(link.take_confirmation().map(|(n, _)| n), Some(0));

    let before = Instant::now();
    for n in [1, 3, 2, 3] {
        link.on_confirmed(n, patience);
    }
    assert_eq!(counter.0.load(Ordering::Relaxed), 1, "no wake-up for each");
    assert!(link.outbox(|outbox| outbox.after(3).is_ok() && outbox.after(2).is_err()));
    link.tick(before + patience / 2);
    assert!(!link.poll_wake(&mut cx));
    link.tick(Instant::now() + patience);
    assert!(
        link.poll_wake(&mut cx),
        "the deadline of the session is that of the report"
    );
    let (n, at) = link.take_confirmation().unwrap();
    assert!(n == 3 && at >= before);
    assert_eq!(link.take_confirmation(), None);
}

/// The reader waits for its client beside the session, whose own wake-up stays.
#[test]
fn drained_queue_wakes_the_reader_and_not_the_session() {
    let socket: Weak<dyn CloseSocket> = Weak::<NoSocket>::new();
    let bounds = QueueBounds::from(&Config::default());
    let link = ConnectionHandle::new(OutboundQueue::new(bounds), socket);
    let [session, reader] = [Arc::<WakeCounter>::default(), Arc::default()];
    let wakers = [Waker::from(session.clone()), Waker::from(reader.clone())];
    let count = |counter: &WakeCounter| counter.0.load(Ordering::Relaxed);
    assert!(!link.poll_wake(&mut Context::from_waker(&wakers[0])));
    while !link.outbox(|outbox| outbox.behind()) {
        link.outbox(|outbox| outbox.answer(Bytes::from_static(b"answer")));
    }
    let mut room = std::pin::pin!(link.room());
    assert!(
        room.as_mut()
            .poll(&mut Context::from_waker(&wakers[1]))
            .is_pending()
    );
    while count(&reader) == 0 {
        let piece = link.poll_piece(&mut Context::from_waker(Waker::noop()), &Bytewise);
        assert!(piece.is_ready(), "the queue is drained, and the reader sleeps");
    }
    assert!(
        room.as_mut()
            .poll(&mut Context::from_waker(&wakers[1]))
            .is_ready()
    );
    assert_eq!(count(&session), 0);
    link.request_check();
    assert_eq!(count(&session), 1, "the session's waker is still registered");
}
