//! What a feed passes on, whichever way the events come.

use std::rc::Weak;

use futures::FutureExt;
use proptest::prelude::*;
use protocol::event::Typing;

use super::*;
use crate::config::Limits;
use crate::conversation::timeline::read::Logged;
use crate::session::Cut;
use crate::session::outbox::{Bounds, Outbox};
use crate::session::settling::Settling;

struct NoSocket;

impl Cut for NoSocket {
    fn cut(&self) {}
}

fn conv() -> ConvId {
    ConvId::parse("g_1").unwrap()
}

fn typing(user: &str) -> Published {
    let event = Event::Typing(Typing {
        c: conv(),
        u: user.parse().unwrap(),
        on: true,
    });
    Published {
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
fn stored(conv: &ConvId, s: u64, tail: &'static [u8]) -> Published {
    let tail = Bytes::from_static(tail);
    Published::replay(conv.clone(), Logged { s, tail })
}

/// A feed that follows the conversation, with room for so many events.
fn feed(frames: usize) -> Rc<Feed> {
    let feed = feed_tagged(frames, 1);
    assert!(feed.begin(&conv()));
    feed.go_live(&conv(), 0);
    feed
}

/// A feed that follows nothing.
fn feed_tagged(frames: usize, tag: u64) -> Rc<Feed> {
    let limits = Limits {
        outbox_frames: frames,
        ..Limits::default()
    };
    let socket: Weak<dyn Cut> = Weak::<NoSocket>::new();
    let link = Link::new(Outbox::new(Bounds::from(&limits)), socket);
    Feed::new(tag, "alice".parse().unwrap(), link, Metrics::default())
}

fn last_n(feed: &Feed) -> u64 {
    feed.link.outbox(|outbox| outbox.last_n())
}

#[test]
fn what_is_in_no_log_is_not_lost_while_a_session_is_carried_on() {
    let feed = feed(8);
    let carried = ConvId::parse("g_2").unwrap();
    let unlogged = |tail: &'static [u8], only: Option<&str>| Published {
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
        events.map(|(_, kept)| kept.tail.clone()).collect()
    });
    let typing = br#""t":"typing","c":"g_2","u":"bob","on":true}"#;
    assert_eq!(tails, [&br#""t":"receipt"}"#[..], typing, br#""t":"conv"}"#]);
}

#[test]
fn a_late_subscription_says_so_before_its_events() {
    let feed = feed(8);
    let late = ConvId::parse("g_2").unwrap();
    let message = |seq| stored(&late, seq, br#""t":"msg"}"#);
    assert!(feed.begin(&late));
    // Held back: it came while the subscription was answered.
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
fn a_sync_waits_for_a_conversation_that_the_client_opens_while_the_session_begins() {
    let feed = feed_tagged(8, 1);
    let barrier = Settling::default();
    feed.begins(barrier.begins(feed.user_id()));
    let (opened, other) = (conv(), ConvId::parse("g_2").unwrap());
    let sync = |conv: &ConvId| {
        let convs = [conv.clone()];
        barrier.stand(feed.user_id(), &convs).now_or_never().is_some()
    };
    // The client's `open` comes before the session has its list, which holds both.
    assert!(feed.begin(&opened));
    assert!(feed.begin(&other));
    feed.plans(std::slice::from_ref(&other));
    feed.go_live(&other, 7);
    feed.settle();
    assert_eq!((sync(&opened), sync(&other)), (false, true));
    feed.go_live(&opened, 9);
    assert!(sync(&opened));
}

#[test]
fn a_jump_while_a_conversation_is_opened_is_announced_before_the_events_behind_it() {
    let feed = feed_tagged(8, 1);
    assert!(feed.begin(&conv()));
    feed.event(&stored(&conv(), 4, br#""t":"msg"}"#));
    feed.jumped(&conv(), 8);
    feed.event(&stored(&conv(), 9, br#""t":"msg"}"#));
    feed.go_live(&conv(), 3);
    let tails: Vec<Bytes> = feed.link.outbox(|outbox| {
        let events = outbox.after(0).unwrap();
        events.map(|(_, kept)| kept.tail.clone()).collect()
    });
    assert!(tails[0].starts_with(br#""t":"resync""#), "{tails:?}");
    assert_eq!(shown(&feed), [0, 4, 9]);
}

#[test]
fn a_conversation_of_the_start_is_not_introduced_before_the_session_follows_it() {
    let feed = feed(8);
    let (known, new) = (conv(), ConvId::parse("g_2").unwrap());
    // The list of the start can't be had yet, and the node hears that the user is in both.
    feed.joined(&known);
    feed.joined(&new);
    assert_eq!(
        feed.take_joined(),
        [],
        "each is to be followed from where the client is"
    );
    // The list was made before the user came into the second one.
    feed.end(&known);
    assert!(feed.begin(&known));
    feed.go_live(&known, 200);
    feed.settle();
    assert_eq!(feed.take_joined(), [new]);
    assert_eq!(feed.take_joined(), []);
}

#[test]
fn one_who_was_removed_and_brought_in_again_while_a_view_came_follows_the_new_membership() {
    let feed = feed_tagged(8, 1);
    feed.settle();
    assert!(feed.begin(&conv()));
    feed.joined(&conv());
    assert_eq!(feed.take_joined(), [], "it is being opened");
    feed.event(&Published {
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
fn ones_own_typing_is_not_shown_on_any_of_ones_devices() {
    let feed = feed(8);
    feed.event(&typing("alice"));
    assert_eq!(last_n(&feed), 0);
    feed.event(&typing("alice2"));
    assert_eq!(last_n(&feed), 1);
}

#[test]
fn under_pressure_typing_and_presence_go_first_and_messages_stay() {
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

/// An event of the log, as it concerns alice, whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogEvent {
    Bob,
    /// Of this session, which doesn't want to see it.
    Quiet,
    /// Of another device, or of this session, which does.
    Alice,
    Removal,
}

/// How the events from some place on come to the client.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// One by one, as they happen.
    Live,
    /// The node missed them, and reads them again.
    CatchUp,
    /// Another session goes on: it reads up to one place what comes live from another on.
    Resume { live_from: usize, read_to: usize },
}

fn of() -> impl Strategy<Value = LogEvent> {
    prop_oneof![4 => Just(LogEvent::Bob), 3 => Just(LogEvent::Quiet), 2 => Just(LogEvent::Alice), 1 => Just(LogEvent::Removal)]
}

fn logged(s: usize, of: LogEvent) -> Logged {
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
    Logged { s: s as u64, tail }
}

/// As it is read from the log, or with what only a live event says.
fn published(s: usize, of: LogEvent, live: bool) -> Published {
    let skip = if live && of == LogEvent::Quiet { 1 } else { 0 };
    Published {
        skip,
        ..Published::replay(conv(), logged(s, of))
    }
}

/// The places that a client was shown.
fn shown(feed: &Feed) -> Vec<u64> {
    feed.link.outbox(|outbox| {
        let events = outbox.after(0).unwrap();
        events
            .map(|(_, kept)| kept.covers.as_ref().map_or(0, |(_, s)| *s))
            .collect()
    })
}

proptest! {
    /// Live, read again, or after a resume at any moment, with acknowledgements that come early, late or never: the same
    /// events, in order, each once, up to the one that removes the user; and none that the session doesn't want.
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
            let acknowledged = |feed: &Feed, s: usize, when: u8| {
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
            all.extend(shown(&first));
            if let Way::Resume { live_from, read_to } = way
                && let (positions, _) = first.positions()
                && let Some((_, at)) = positions.first()
            {
                prop_assert_eq!(*at, cut as u64);
                // It has another tag, and what the first one had to say of itself.
                let next = feed_tagged(4_096, 2);
                for (conv, cid) in first.hushed_messages() { next.hush(&conv, &cid); }
                next.begin_at(&conv(), Some(*at));
                for s in live_from + 1..=log.len() { next.event(&published(s, log[s - 1], true)); }
                let follows = (cut + 1..=read_to).all(|s| {
                    acknowledged(&next, s, 0);
                    next.carry(&published(s, log[s - 1], false))
                });
                if follows { prop_assert!(next.carried(&conv(), read_to as u64)); }
                all.extend(shown(&next));
            }
            prop_assert_eq!(&all, &expected, "{:?}", way);
        }
    }
}

fn message_at(conv: &ConvId, s: u64) -> Published {
    let tail = Bytes::from_static(br#""t":"msg"}"#);
    Published::replay(conv.clone(), Logged { s, tail })
}

#[test]
fn the_quietest_conversation_makes_room_and_is_told_of_from_then_on() {
    let feed = feed(8);
    let convs = ["g_2", "g_3"].map(|id| ConvId::parse(id).unwrap());
    for conv in &convs {
        assert!(feed.begin(conv));
        feed.go_live(conv, 5);
    }
    feed.settle();
    assert_eq!(feed.make_room(3), None);
    // Something happens in the one that began first; in the next, more was told than has come.
    feed.event(&message_at(&conv(), 1));
    let last = |s| Last { s, mn: s, ts: s };
    feed.active(&convs[0], last(6));
    assert_eq!(feed.make_room(2), Some(convs[1].clone()));
    assert_eq!(feed.make_room(2), None);
    // Up to there it came, and what is told twice is news once.
    feed.active(&convs[1], last(5));
    assert_eq!(feed.take_active(9), []);
    feed.active(&convs[1], last(6));
    assert_eq!(feed.take_active(9), [(convs[1].clone(), last(6))]);
    // What is on its way comes, and then this one is the quietest.
    feed.event(&message_at(&convs[0], 6));
    feed.event(&message_at(&conv(), 2));
    assert_eq!(feed.make_room(1), Some(convs[0].clone()));
}

#[test]
fn what_was_lost_on_the_way_is_found_at_the_top_of_the_list() {
    let feed = feed(8);
    feed.settle();
    let now = 1_000_000_000;
    feed.begins_at(now);
    let placed = |id: &str, since_ms, ms| Placed {
        conv: ConvId::parse(id).unwrap(),
        ms,
        since_ms,
        last: Last { s: 9, mn: 9, ts: ms },
        large: false,
    };
    let list = [
        placed("g_1", 0, now),
        placed("g_2", 0, now),
        placed("g_3", now, now),
        placed("g_4", 0, now - SLACK_MS - 60_000),
    ];
    feed.latest(&list);
    let id = |id: &str| ConvId::parse(id).unwrap();
    let active: Vec<ConvId> = feed.take_active(9).into_iter().map(|(conv, _)| conv).collect();
    assert_eq!((active, feed.take_joined()), (vec![id("g_2")], vec![id("g_3")]));
    assert_eq!(feed.take_unread(), None);
    // With as many as were asked for there may be more.
    feed.latest(&vec![placed("g_5", 0, now); LATEST]);
    assert_eq!(feed.take_unread(), Some((now, id("g_5"))));
}
