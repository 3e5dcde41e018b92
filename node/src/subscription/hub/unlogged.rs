//! Events outside the log (cursors, settings, typing) for a session that is being admitted: the owner's recent ones,
//! and those that arrive while the session is pending. Pure.
//!
//! The two overlap, and arrive on two paths. For each kind and user the stream takes precedence, because anything newer
//! arrives by the stream as well. The owner's events fill in the rest.

use std::sync::Arc;

use protocol::{EncodedEvent, Event, UserId};

use crate::state_machine::EventEnvelope;

/// Maximum number of events buffered for one session; more are lost, which each of them may be.
const WAITING: usize = 64;

/// Kind of an event outside the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Cursors,
    Typing,
    Settings,
}

/// Buffers an event for a pending session.
pub(super) fn wait(waiting: &mut Vec<Arc<EventEnvelope>>, event: &Arc<EventEnvelope>) {
    if waiting.len() < WAITING {
        waiting.push(event.clone());
    }
}

/// Merges the owner's recent events with the buffered ones of the stream.
pub(super) fn merged(
    recent: Vec<Arc<EventEnvelope>>,
    waited: Vec<Arc<EventEnvelope>>,
    user: &UserId,
) -> Vec<Arc<EventEnvelope>> {
    let spoken: Vec<_> = waited.iter().map(|event| about(event)).collect();
    let concerns = |event: &Arc<EventEnvelope>| event.only.as_ref().is_none_or(|only| only == user);
    let fresh = recent
        .into_iter()
        .filter(|event| concerns(event) && !spoken.contains(&about(event)));
    // Events for a single user were passed to that user's sessions when they arrived.
    let waited_for_all = waited.iter().filter(|event| event.only.is_none()).cloned();
    fresh.chain(waited_for_all).collect()
}

fn about(event: &EventEnvelope) -> Option<(Subject, UserId)> {
    let event_of = EncodedEvent::from_tail(&event.tail).ok()?.event()?;
    match event_of {
        Event::Receipt(receipt) => Some((Subject::Cursors, receipt.user)),
        Event::Typing(typing) => Some((Subject::Typing, typing.user)),
        Event::Conv(_) => Some((Subject::Settings, event.only.clone()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use protocol::ConversationId;
    use protocol::event::{ReceiptEvent, TypingEvent};

    use super::*;

    fn published(event: Event, only: Option<&str>) -> Arc<EventEnvelope> {
        Arc::new(EventEnvelope {
            conv: conv(),
            seq: 0,
            tail: event.tail().into(),
            removes: None,
            adds: None,
            skip: 0,
            only: only.map(|user| user.parse().unwrap()),
        })
    }

    fn conv() -> ConversationId {
        ConversationId::parse("g_1").unwrap()
    }

    fn receipt(user: &str, read: u64, only: Option<&str>) -> Arc<EventEnvelope> {
        let receipt = ReceiptEvent {
            conversation: conv(),
            user: user.parse().unwrap(),
            delivered: read,
            read,
        };
        published(Event::Receipt(receipt), only)
    }

    fn typing(user: &str) -> Arc<EventEnvelope> {
        let typing = TypingEvent {
            conversation: conv(),
            user: user.parse().unwrap(),
            active: true,
        };
        published(Event::Typing(typing), None)
    }

    #[test]
    fn a_cursor_never_falls_and_stays_with_its_user() {
        let recent = vec![
            receipt("bob", 3, None),
            receipt("carol", 4, None),
            typing("bob"),
            receipt("eve", 9, Some("eve")),
            receipt("alice", 2, Some("alice")),
        ];
        let waited = vec![receipt("bob", 4, None), receipt("alice", 5, Some("alice"))];
        let alice: UserId = "alice".parse().unwrap();
        let events = merged(recent.clone(), waited.clone(), &alice);
        assert_eq!(events, [recent[1].clone(), recent[2].clone(), waited[0].clone()]);
    }
}
