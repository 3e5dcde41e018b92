//! Events that a subscriber delivers, by whichever path they arrive.

use std::rc::Weak;

use futures::FutureExt;
use proptest::prelude::*;
use protocol::event::TypingEvent;

use super::*;
use crate::config::Config;
use crate::presence::PresenceSink;
use crate::session::CloseSocket;
use crate::session::delivery::{OutboundQueue, QueueBounds};
use crate::session::lifecycle::SubscriptionBarrier;
use crate::state_machine::{LoggedEvent, PlacedEntry};

struct NoSocket;

impl CloseSocket for NoSocket {
    fn cut(&self) {}
}

fn conv() -> ConversationId {
    ConversationId::parse("g_1").unwrap()
}

fn typing(user: &str) -> EventEnvelope {
    let event = Event::Typing(TypingEvent {
        conversation: conv(),
        user: user.parse().unwrap(),
        active: true,
    });
    EventEnvelope {
        conv: conv(),
        seq: 0,
        tail: event.tail().into(),
        removes: None,
        adds: None,
        skip: 0,
        only: None,
    }
}

/// An event as it is read from the log.
fn stored(conv: &ConversationId, s: u64, tail: &'static [u8]) -> EventEnvelope {
    let tail = Bytes::from_static(tail);
    EventEnvelope::replay(conv.clone(), LoggedEvent { s, tail })
}

/// Creates a subscriber that follows the conversation, with room for so many events.
fn feed(frames: usize) -> Rc<EventSubscriber> {
    let feed = feed_tagged(frames, 1);
    assert!(feed.begin(&conv()));
    feed.go_live(&conv(), 0);
    feed
}

/// Creates a subscriber without subscriptions.
fn feed_tagged(frames: usize, tag: u64) -> Rc<EventSubscriber> {
    let bounds = QueueBounds {
        frames,
        ..QueueBounds::from(&Config::default())
    };
    let socket: Weak<dyn CloseSocket> = Weak::<NoSocket>::new();
    let link = ConnectionHandle::new(OutboundQueue::new(bounds), socket);
    EventSubscriber::new(tag, "alice".parse().unwrap(), link, ServerMetrics::default())
}

fn last_n(feed: &EventSubscriber) -> u64 {
    feed.link.outbox(|outbox| outbox.last_n())
}

#[test]
fn what_is_in_no_log_is_not_lost_while_a_session_is_carried_on() {
    let feed = feed(8);
    let carried = ConversationId::parse("g_2").unwrap();
    let unlogged = |tail: &'static [u8], only: Option<&str>| EventEnvelope {
        only: only.map(|user| user.parse().unwrap()),
        ..stored(&carried, 0, tail)
    };
    assert!(feed.begin_at(&carried, Some(3)));
    feed.event(&unlogged(br#""t":"receipt"}"#, None));
    feed.event(&unlogged(br#""t":"typing","c":"g_2","u":"bob","on":true}"#, None));
    feed.event(&unlogged(br#""t":"conv"}"#, Some("alice")));
    feed.event(&unlogged(br#""t":"conv","of":"bob"}"#, Some("bob")));
    assert!(feed.carried(&carried, 3));
    let tails: Vec<Bytes> = feed.link.outbox(|outbox| {
        let events = outbox.after(0).unwrap();
        events.map(|(_, buffered)| buffered.tail.clone()).collect()
    });
    let typing = br#""t":"typing","c":"g_2","u":"bob","on":true}"#;
    assert_eq!(tails, [&br#""t":"receipt"}"#[..], typing, br#""t":"conv"}"#]);
}

#[test]
fn a_late_subscription_says_so_before_its_events() {
    let feed = feed(8);
    let late = ConversationId::parse("g_2").unwrap();
    let message = |seq| stored(&late, seq, br#""t":"msg"}"#);
    assert!(feed.begin(&late));
    // Buffered: it arrived before the subscription was complete.
    feed.event(&message(4));
    feed.go_live_late(&[(late.clone(), 3)]);
    feed.event(&message(5));
    let is_resync = feed.link.outbox(|outbox| {
        let events = outbox.after(0).unwrap();
        let resyncs = events.map(|(_, event)| event.tail.starts_with(br#""t":"resync""#));
        resyncs.collect::<Vec<_>>()
    });
    assert_eq!(is_resync, [true, false, false]);
    feed.go_live_late(&[]);
    assert_eq!(last_n(&feed), 3);
}

#[test]
fn open_waits_for_a_subscription_that_another_request_has_begun() {
    let feed = feed_tagged(8, 1);
    let c = conv();
    assert!(
        feed.pending_subscription(&c).now_or_never().is_some(),
        "nobody has begun it"
    );
    // Live; ended; and one whose owner is unreachable, which is retried with a `resync`.
    let ends: [fn(&EventSubscriber); 3] = [
        |feed| feed.go_live(&conv(), 9),
        |feed| feed.end(&conv()),
        |feed| feed.stands(&conv()),
    ];
    for end in ends {
        assert!(feed.begin(&c));
        let mut pending = std::pin::pin!(feed.pending_subscription(&c));
        assert!(pending.as_mut().now_or_never().is_none());
        end(&feed);
        assert!(pending.now_or_never().is_some());
        feed.end(&c);
    }
    assert!(feed.begin_at(&c, Some(3)));
    assert!(
        feed.pending_subscription(&c).now_or_never().is_some(),
        "the client has it"
    );
}

#[test]
fn sync_waits_for_a_conversation_opened_during_session_start() {
    let feed = feed_tagged(8, 1);
    let barrier = SubscriptionBarrier::default();
    feed.begins(barrier.begins(feed.user_id()));
    let (opened, other) = (conv(), ConversationId::parse("g_2").unwrap());
    let sync = |conv: &ConversationId| {
        let convs = [conv.clone()];
        barrier.stand(feed.user_id(), &convs).now_or_never().is_some()
    };
    // The client's `open` comes before the session has its list, which holds both.
    assert!(feed.begin(&opened));
    assert!(feed.begin(&other));
    feed.plans(std::slice::from_ref(&other));
    feed.go_live(&other, 7);
    feed.set_ready();
    assert_eq!((sync(&opened), sync(&other)), (false, true));
    feed.go_live(&opened, 9);
    assert!(sync(&opened));
}

#[test]
fn jump_during_an_open_is_announced_before_the_later_events() {
    let feed = feed_tagged(8, 1);
    assert!(feed.begin(&conv()));
    feed.event(&stored(&conv(), 4, br#""t":"msg"}"#));
    feed.jumped(&conv(), 8);
    feed.event(&stored(&conv(), 9, br#""t":"msg"}"#));
    feed.go_live(&conv(), 3);
    let tails: Vec<Bytes> = feed.link.outbox(|outbox| {
        let events = outbox.after(0).unwrap();
        events.map(|(_, buffered)| buffered.tail.clone()).collect()
    });
    assert!(tails[0].starts_with(br#""t":"resync""#), "{tails:?}");
    assert_eq!(covered(&feed), [0, 4, 9]);
}

#[test]
fn conversation_is_introduced_only_after_its_subscription() {
    let feed = feed(8);
    let (known, new) = (conv(), ConversationId::parse("g_2").unwrap());
    // The initial list is not available yet, and the node is notified of both memberships.
    feed.joined(&known);
    feed.joined(&new);
    assert_eq!(
        feed.take_joined(),
        [],
        "each is to be followed from where the client is"
    );
    // The list is older than the user's membership in the second conversation.
    feed.end(&known);
    assert!(feed.begin(&known));
    feed.go_live(&known, 200);
    feed.set_ready();
    assert_eq!(feed.take_joined(), [new]);
    assert_eq!(feed.take_joined(), []);
}

#[test]
fn readded_member_follows_the_new_membership_after_a_late_view() {
    let feed = feed_tagged(8, 1);
    feed.set_ready();
    assert!(feed.begin(&conv()));
    feed.joined(&conv());
    assert_eq!(feed.take_joined(), [], "it is being opened");
    feed.event(&EventEnvelope {
        removes: Some("alice".parse().unwrap()),
        ..stored(&conv(), 4, br#""t":"member"}"#)
    });
    feed.go_live(&conv(), 6);
    assert!(
        !feed.follows(&conv()),
        "the subscription ended with the first membership"
    );
    assert_eq!(feed.take_joined(), [conv()]);
}

#[test]
fn own_typing_reaches_no_own_device() {
    let feed = feed(8);
    feed.event(&typing("alice"));
    assert_eq!(last_n(&feed), 0);
    feed.event(&typing("alice2"));
    assert_eq!(last_n(&feed), 1);
}

#[test]
fn typing_and_presence_are_dropped_under_pressure_first() {
    let feed = feed(8);
    for seq in 1..=4 {
        feed.event(&stored(&conv(), seq, br#""t":"msg"}"#));
    }
    feed.event(&typing("bob"));
    assert!(!feed.show(Bytes::from_static(br#""t":"presence"}"#)));
    assert_eq!((last_n(&feed), feed.metrics.dropped.get()), (4, 1));
    for seq in 5..=8 {
        feed.event(&stored(&conv(), seq, br#""t":"msg"}"#));
    }
    assert_eq!((last_n(&feed), feed.metrics.resyncs.get()), (8, 0));
}

/// Event of the log, in relation to alice, the session's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogEvent {
    Bob,
    /// Sent by this session with `echo:false`.
    Quiet,
    /// Sent by another device, or by this session with echo.
    Alice,
    Removal,
}

/// Path by which the events from some position on arrive.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// One by one, as they happen.
    Live,
    /// The node missed them, and reads them again.
    CatchUp,
    /// Another session resumes: it reads the log up to one position, and live events begin at another one.
    Resume { live_from: usize, read_to: usize },
}

fn of() -> impl Strategy<Value = LogEvent> {
    prop_oneof![4 => Just(LogEvent::Bob), 3 => Just(LogEvent::Quiet), 2 => Just(LogEvent::Alice), 1 => Just(LogEvent::Removal)]
}

fn logged(s: usize, of: LogEvent) -> LoggedEvent {
    let tail = match of {
        LogEvent::Removal => format!(
            r#""t":"member","c":"g_1","s":{s},"ts":1,"u":"bob","who":"alice","role":null,"why":"kick"}}"#
        ),
        LogEvent::Bob | LogEvent::Quiet | LogEvent::Alice => {
            let user = if of == LogEvent::Bob { "bob" } else { "alice" };
            format!(r#""t":"msg","c":"g_1","s":{s},"mn":{s},"ts":1,"u":"{user}","cid":"i{s}","b":{{}}}}"#)
        }
    };
    let tail = Bytes::from(tail);
    LoggedEvent { s: s as u64, tail }
}

/// Event as read from the log, or with the fields that only a live event has.
fn published(s: usize, of: LogEvent, live: bool) -> EventEnvelope {
    let skip = if live && of == LogEvent::Quiet { 1 } else { 0 };
    EventEnvelope {
        skip,
        ..EventEnvelope::replay(conv(), logged(s, of))
    }
}

/// Seqs of the events that the client received.
fn covered(feed: &EventSubscriber) -> Vec<u64> {
    feed.link.outbox(|outbox| {
        let events = outbox.after(0).unwrap();
        events
            .map(|(_, buffered)| buffered.covers.as_ref().map_or(0, |(_, s)| *s))
            .collect()
    })
}

proptest! {
    /// Live, read again, or after a resume at any moment, with acknowledgements that are early, late or missing: the
    /// client receives the same events in order, each once, up to the removal of the user, and none that was sent with
    /// `echo:false`.
    #[test]
    fn every_way_shows_the_same(
        log in prop::collection::vec(of(), 1..40),
        cut in 0usize..40,
        (from, to) in (0usize..40, 0usize..40),
        acks in prop::collection::vec(0u8..3, 40),
    ) {
        let end = log.iter().position(|of| *of == LogEvent::Removal).map_or(log.len(), |at| at + 1);
        let wanted = (1..=end).filter(|s| log[s - 1] != LogEvent::Quiet);
        let expected: Vec<u64> = wanted.map(|s| s as u64).collect();
        let cut = cut % (log.len() + 1);
        let live_from = cut + from % (log.len() + 1 - cut);
        let read_to = live_from + to % (log.len() + 1 - live_from);
        for way in [Way::Live, Way::CatchUp, Way::Resume { live_from, read_to }] {
            let first = feed(4_096);
            for (at, of) in log.iter().enumerate() {
                if *of == LogEvent::Quiet { first.hush(&conv(), &format!("i{}", at + 1).parse().unwrap()); }
            }
            let acknowledged = |feed: &EventSubscriber, s: usize, when: u8| {
                if log[s - 1] == LogEvent::Quiet && acks[s - 1] == when {
                    feed.hushed(&conv(), &format!("i{s}").parse().unwrap(), s as u64, false);
                }
            };
            let mut all = Vec::new();
            let (upto, live) = match way {
                Way::Live => (log.len(), true),
                Way::CatchUp => (log.len(), false),
                Way::Resume { .. } => (cut, true),
            };
            for s in 1..=upto {
                acknowledged(&first, s, 0);
                first.event(&published(s, log[s - 1], live));
                acknowledged(&first, s, 1);
            }
            all.extend(covered(&first));
            if let Way::Resume { live_from, read_to } = way
                && let (positions, _) = first.positions()
                && let Some((_, at)) = positions.first()
            {
                prop_assert_eq!(*at, cut as u64);
                // The next session has another tag, and the snapshot of the first one.
                let next = feed_tagged(4_096, 2);
                for (conv, cid) in first.hushed_messages() { next.hush(&conv, &cid); }
                next.begin_at(&conv(), Some(*at));
                for s in live_from + 1..=log.len() { next.event(&published(s, log[s - 1], true)); }
                let follows = (cut + 1..=read_to).all(|s| {
                    acknowledged(&next, s, 0);
                    next.carry(&published(s, log[s - 1], false))
                });
                if follows { prop_assert!(next.carried(&conv(), read_to as u64)); }
                all.extend(covered(&next));
            }
            prop_assert_eq!(&all, &expected, "{:?}", way);
        }
    }
}

fn message_at(conv: &ConversationId, s: u64) -> EventEnvelope {
    let tail = Bytes::from_static(br#""t":"msg"}"#);
    EventEnvelope::replay(conv.clone(), LoggedEvent { s, tail })
}

#[test]
fn the_quietest_conversation_makes_room_and_reports_updates() {
    let feed = feed(8);
    let convs = ["g_2", "g_3"].map(|id| ConversationId::parse(id).unwrap());
    for conv in &convs {
        assert!(feed.begin(conv));
        feed.go_live(conv, 5);
    }
    feed.set_ready();
    assert_eq!(feed.make_room(3), None);
    // Activity in the conversation that began first; in the next one, more was announced than delivered.
    feed.event(&message_at(&conv(), 1));
    let last = |s| LastEvent {
        seq: s,
        message_number: s,
        timestamp_ms: s,
    };
    feed.active(&convs[0], last(6));
    assert_eq!(feed.make_room(2), Some(convs[1].clone()));
    assert_eq!(feed.make_room(2), None);
    // Delivered up to here, and a repeated announcement adds nothing.
    feed.active(&convs[1], last(5));
    assert_eq!(feed.take_active(9), []);
    feed.active(&convs[1], last(6));
    assert_eq!(feed.take_active(9), [(convs[1].clone(), last(6))]);
    // The announced event arrives, and then this conversation is the least recently active one.
    feed.event(&message_at(&convs[0], 6));
    feed.event(&message_at(&conv(), 2));
    assert_eq!(feed.make_room(1), Some(convs[0].clone()));
}

#[test]
fn what_was_lost_on_the_way_is_found_at_the_top_of_the_list() {
    let feed = feed(8);
    feed.set_ready();
    let now = 1_000_000_000;
    feed.begins_at(now);
    let placed = |id: &str, since_ms, ms| PlacedEntry {
        conv: ConversationId::parse(id).unwrap(),
        ms,
        since_ms,
        last: LastEvent {
            seq: 9,
            message_number: 9,
            timestamp_ms: ms,
        },
        large: false,
    };
    let list = [
        placed("g_1", 0, now),
        placed("g_2", 0, now),
        placed("g_3", now, now),
        placed("g_4", 0, now - SLACK_MS - 60_000),
    ];
    feed.latest(&list);
    let id = |id: &str| ConversationId::parse(id).unwrap();
    let active: Vec<ConversationId> = feed.take_active(9).into_iter().map(|(conv, _)| conv).collect();
    assert_eq!((active, feed.take_joined()), (vec![id("g_2")], vec![id("g_3")]));
    assert_eq!(feed.take_unread(), None);
    // A full page: there may be more.
    feed.latest(&vec![placed("g_5", 0, now); LATEST]);
    assert_eq!(feed.take_unread(), Some((now, id("g_5"))));
}
