//! Rules of the outbound queue, tested through the framing of the WebSocket.

use std::time::Duration;

use super::*;
use crate::gateway::{JsonMessages, WebSocketFraming};
use crate::session::delivery::replay_buffer::Capacity;

const BOUNDS: QueueBounds = QueueBounds {
    ring: Capacity {
        events: 6,
        bytes: 1000,
    },
    frames: 4,
    bytes: 1000,
    slow_again: Duration::from_secs(30),
    piece_frames: 3,
    piece_bytes: 1000,
};

fn tail(text: &str) -> Bytes {
    Bytes::from(format!("\"t\":\"{text}\"}}"))
}

fn buffered(text: &str) -> BufferedEvent {
    BufferedEvent {
        tail: tail(text),
        covers: None,
    }
}

/// Drains the queue; returns the payload of each frame as a text.
fn drain(outbox: &mut OutboundQueue) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut texts = Vec::new();
    while let Poll::Ready(Some(piece)) = outbox.poll_piece(&mut cx, &WebSocketFraming(JsonMessages)) {
        let mut rest = &piece.bytes[..];
        while !rest.is_empty() {
            let (start, length) = (2, usize::from(rest[1]));
            texts.push(String::from_utf8_lossy(&rest[start..start + length]).into_owned());
            rest = &rest[start + length..];
        }
    }
    texts
}

#[test]
fn events_are_numbered_and_responses_keep_their_order() {
    let mut outbox = OutboundQueue::new(BOUNDS);
    assert_eq!(outbox.event(buffered("a"), Instant::now()), PushResult::Queued(1));
    outbox.answer(Bytes::from_static(b"{\"t\":\"ok\"}"));
    assert_eq!(outbox.event(buffered("b"), Instant::now()), PushResult::Queued(2));
    assert_eq!(
        drain(&mut outbox),
        [r#"{"n":1,"t":"a"}"#, r#"{"t":"ok"}"#, r#"{"n":2,"t":"b"}"#]
    );
}

#[test]
fn a_piece_has_an_end() {
    let mut outbox = OutboundQueue::new(BOUNDS);
    for _ in 0..4 {
        outbox.answer(Bytes::from_static(b"{}"));
    }
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(piece)) = outbox.poll_piece(&mut cx, &WebSocketFraming(JsonMessages)) else {
        panic!("a piece was ready")
    };
    assert_eq!(piece.frames, 3);
}

#[test]
fn full_outbound_queue_drops_events_but_keeps_responses() {
    let now = Instant::now();
    let mut outbox = OutboundQueue::new(BOUNDS);
    outbox.answer(Bytes::from_static(b"{\"t\":\"ok\"}"));
    for n in 1..=4 {
        assert_eq!(outbox.event(buffered("a"), now), PushResult::Queued(n));
    }
    assert_eq!(outbox.event(buffered("a"), now), PushResult::Resync(1));
    assert_eq!(outbox.event(buffered("b"), now), PushResult::Queued(6));
    let expected = [
        r#"{"t":"ok"}"#,
        r#"{"n":5,"t":"resync","why":"slow"}"#,
        r#"{"n":6,"t":"b"}"#,
    ];
    assert_eq!(drain(&mut outbox), expected);
}

#[test]
fn second_overflow_within_the_window_ends_the_session() {
    let mut now = Instant::now();
    let mut outbox = OutboundQueue::new(BOUNDS);
    let fill = |outbox: &mut OutboundQueue, now| (0..4).map(|_| outbox.event(buffered("a"), now)).last();
    fill(&mut outbox, now);
    assert_eq!(outbox.event(buffered("a"), now), PushResult::Resync(1));
    now += Duration::from_secs(31);
    drain(&mut outbox);
    fill(&mut outbox, now);
    assert_eq!(outbox.event(buffered("a"), now), PushResult::Resync(6));
    fill(&mut outbox, now);
    assert_eq!(outbox.event(buffered("a"), now), PushResult::TooSlow);
}

#[test]
fn ephemeral_events_go_first() {
    let mut outbox = OutboundQueue::new(BOUNDS);
    assert_eq!(outbox.ephemeral(tail("typing"), false), PushResult::Queued(1));
    assert_eq!(outbox.event(buffered("a"), Instant::now()), PushResult::Queued(2));
    assert_eq!(outbox.ephemeral(tail("typing"), false), PushResult::Dropped);
    assert_eq!(outbox.event(buffered("a"), Instant::now()), PushResult::Queued(3));
}

#[test]
fn only_the_newest_pings_are_answered() {
    let mut outbox = OutboundQueue::new(BOUNDS);
    for ping in 0..=PONGS {
        outbox.pong(Bytes::from(ping.to_string()));
    }
    let newest: Vec<String> = (1..=PONGS).map(|ping| ping.to_string()).collect();
    assert_eq!(drain(&mut outbox), newest);
}

#[test]
fn nothing_follows_the_close_frame() {
    let mut outbox = OutboundQueue::new(BOUNDS);
    outbox.answer(Bytes::from_static(b"{}"));
    outbox.close(Some(4012), "{}", false);
    outbox.answer(Bytes::from_static(b"{}"));
    assert_eq!(outbox.event(buffered("a"), Instant::now()), PushResult::Queued(1));
    assert_eq!(drain(&mut outbox), ["{}", "\u{f}\u{fffd}{}"]);
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(
        outbox.poll_piece(&mut cx, &WebSocketFraming(JsonMessages)),
        Poll::Ready(None)
    );
}

/// Framing that writes responses alone: neither events, as without a subscription, nor a last message, as MQTT 3.1.1.
struct ResponsesAlone;

impl Framing for ResponsesAlone {
    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        out.extend_from_slice(body);
    }
    fn event(&self, _: &mut BytesMut, _: u64, _: &[u8]) {}
    fn ping(&self, _: &mut BytesMut, _: u64) {}
    fn pong(&self, _: &mut BytesMut, _: &[u8]) {}
    fn close(&self, _: &mut BytesMut, _: Option<u16>, _: &str) {}
}

#[test]
fn close_without_bytes_ends_the_output_at_once() {
    let mut cx = Context::from_waker(Waker::noop());
    let mut silent = OutboundQueue::new(BOUNDS);
    silent.close(None, "", false);
    assert_eq!(silent.poll_piece(&mut cx, &ResponsesAlone), Poll::Ready(None));
    let mut behind_a_response = OutboundQueue::new(BOUNDS);
    behind_a_response.answer(Bytes::from_static(b"{}"));
    behind_a_response.close(None, "", false);
    let last = behind_a_response.poll_piece(&mut cx, &ResponsesAlone);
    assert!(matches!(last, Poll::Ready(Some(chunk)) if chunk.bytes == "{}"));
    assert_eq!(
        behind_a_response.poll_piece(&mut cx, &ResponsesAlone),
        Poll::Ready(None)
    );
}

#[test]
fn response_behind_events_without_bytes_is_written_at_once() {
    let mut outbox = OutboundQueue::new(BOUNDS);
    for text in ["a", "b", "c", "d"] {
        assert!(matches!(
            outbox.event(buffered(text), Instant::now()),
            PushResult::Queued(_)
        ));
    }
    outbox.answer(Bytes::from_static(b"{}"));
    let mut cx = Context::from_waker(Waker::noop());
    let piece = outbox.poll_piece(&mut cx, &ResponsesAlone);
    assert!(matches!(piece, Poll::Ready(Some(chunk)) if chunk.bytes == "{}"));
}

/// Returns the numbers of the events behind `n`, if none of them is missing.
fn behind(outbox: &OutboundQueue, n: u64) -> Option<Vec<u64>> {
    outbox
        .after(n)
        .ok()
        .map(|events| events.map(|(n, _)| n).collect())
}

#[test]
fn detached_events_stay_until_an_unseen_one_must_go() {
    let mut outbox = OutboundQueue::new(BOUNDS);
    outbox.event(buffered("a"), Instant::now());
    outbox.event(buffered("b"), Instant::now());
    drain(&mut outbox);
    outbox.close(None, "", true);
    for n in 3..=8 {
        assert_eq!(outbox.event(buffered("c"), Instant::now()), PushResult::Queued(n));
    }
    assert_eq!(outbox.ephemeral(tail("typing"), false), PushResult::Dropped);
    assert_eq!(outbox.ephemeral(tail("receipt"), true), PushResult::Dropped);
    assert_eq!(behind(&outbox, 2).unwrap(), [3, 4, 5, 6, 7, 8]);
    assert_eq!(outbox.event(buffered("d"), Instant::now()), PushResult::Lost);
    assert!(outbox.lost());
    assert_eq!(behind(&outbox, 2), None);
}

#[test]
fn logged_events_wait_for_a_detached_client_with_room() {
    let mut outbox = OutboundQueue::new(BOUNDS);
    outbox.disconnected();
    assert_eq!(outbox.ephemeral(tail("typing"), false), PushResult::Dropped);
    for n in 1..=3 {
        assert_eq!(outbox.ephemeral(tail("receipt"), true), PushResult::Queued(n));
    }
    assert_eq!(outbox.ephemeral(tail("receipt"), true), PushResult::Dropped);
    assert_eq!(behind(&outbox, 0).unwrap(), [1, 2, 3]);
}

#[test]
fn one_that_fetches_gets_what_lasts_and_what_does_not() {
    let mut outbox = OutboundQueue::unconnected(BOUNDS);
    assert_eq!(outbox.ephemeral(tail("typing"), false), PushResult::Queued(1));
    assert_eq!(outbox.event(buffered("a"), Instant::now()), PushResult::Queued(2));
    outbox.confirm(1);
    assert_eq!(behind(&outbox, 1).unwrap(), [2]);
}

#[test]
fn event_that_overflowed_the_queue_is_delivered_after_resume() {
    let now = Instant::now();
    let mut outbox = OutboundQueue::new(BOUNDS);
    for _ in 0..4 {
        outbox.event(buffered("a"), now);
    }
    assert_eq!(outbox.event(buffered("b"), now), PushResult::Resync(1));
    drain(&mut outbox);
    for n in 6..=9 {
        assert_eq!(outbox.event(buffered("c"), now), PushResult::Queued(n));
    }
    assert_eq!(outbox.event(buffered("d"), now), PushResult::TooSlow);
    drain(&mut outbox);
    assert_eq!(outbox.event(buffered("e"), now), PushResult::TooSlow);
    assert!(
        drain(&mut outbox).is_empty(),
        "no event leaves past one that is missing"
    );
    assert_eq!(behind(&outbox, 5).unwrap(), [6, 7, 8, 9, 10, 11]);
}

#[test]
fn replayed_events_do_not_count_as_a_slow_consumer() {
    let mut outbox = OutboundQueue::new(BOUNDS);
    outbox.start_at(41);
    for _ in 0..6 {
        outbox.replay(buffered("old"));
    }
    for n in 48..=51 {
        assert_eq!(
            outbox.event(buffered("new"), Instant::now()),
            PushResult::Queued(n)
        );
    }
    assert!(outbox.is_above_half());
    let texts = drain(&mut outbox);
    assert_eq!((texts.len(), texts[0].as_str()), (10, r#"{"n":42,"t":"old"}"#));
    assert!(!outbox.is_above_half());
}
