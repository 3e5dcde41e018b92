//! What a session learns that is in no log (cursors, settings, typing) when it is let in: what the owner says was said
//! lately, and what came while the session waited. Pure.
//!
//! The two overlap and come on two ways. Of each kind and user the stream's word counts, for whatever is newer comes by
//! the stream as well; what the owner says fills in what the stream has not spoken of.

use std::sync::Arc;

use protocol::{Event, RawEvent, UserId};

use crate::conversation::timeline::Published;

/// Events that wait for one session; more are lost, as any of them may be.
const WAITING: usize = 64;

/// What an event speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Cursors,
    Typing,
    Settings,
}

/// Keeps an event for a session that waits.
pub(super) fn wait(waiting: &mut Vec<Arc<Published>>, event: &Arc<Published>) {
    if waiting.len() < WAITING {
        waiting.push(event.clone());
    }
}

/// What the session is told. What concerns one user alone was told to that user's sessions when it came.
pub(super) fn merged(
    recent: Vec<Arc<Published>>,
    waited: Vec<Arc<Published>>,
    user: &UserId,
) -> Vec<Arc<Published>> {
    let spoken: Vec<_> = waited.iter().map(|event| about(event)).collect();
    let concerns = |event: &Arc<Published>| event.only.as_ref().is_none_or(|only| only == user);
    let fresh = recent
        .into_iter()
        .filter(|event| concerns(event) && !spoken.contains(&about(event)));
    let waited_for_all = waited.iter().filter(|event| event.only.is_none()).cloned();
    fresh.chain(waited_for_all).collect()
}

fn about(event: &Published) -> Option<(Subject, UserId)> {
    let event_of = RawEvent::from_tail(&event.tail).ok()?.event()?;
    match event_of {
        Event::Receipt(receipt) => Some((Subject::Cursors, receipt.u)),
        Event::Typing(typing) => Some((Subject::Typing, typing.u)),
        Event::Conv(_) => Some((Subject::Settings, event.only.clone()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use protocol::ConvId;
    use protocol::event::{Receipt, Typing};

    use super::*;

    fn published(event: Event, only: Option<&str>) -> Arc<Published> {
        Arc::new(Published {
            conv: conv(),
            seq: 0,
            tail: event.tail().into(),
            removes: None,
            adds: None,
            skip: 0,
            only: only.map(|user| user.parse().unwrap()),
        })
    }

    fn conv() -> ConvId {
        ConvId::parse("g_1").unwrap()
    }

    fn receipt(user: &str, read: u64, only: Option<&str>) -> Arc<Published> {
        let receipt = Receipt {
            c: conv(),
            u: user.parse().unwrap(),
            delivered: read,
            read,
        };
        published(Event::Receipt(receipt), only)
    }

    fn typing(user: &str) -> Arc<Published> {
        let typing = Typing {
            c: conv(),
            u: user.parse().unwrap(),
            on: true,
        };
        published(Event::Typing(typing), None)
    }

    #[test]
    fn a_cursor_never_falls_and_nobody_is_told_what_concerns_another() {
        let recent = vec![
            receipt("bob", 3, None),
            receipt("carol", 4, None),
            typing("bob"),
            receipt("eve", 9, Some("eve")),
            receipt("alice", 2, Some("alice")),
        ];
        let waited = vec![receipt("bob", 4, None), receipt("alice", 5, Some("alice"))];
        let alice: UserId = "alice".parse().unwrap();
        let shown = merged(recent.clone(), waited.clone(), &alice);
        assert_eq!(shown, [recent[1].clone(), recent[2].clone(), waited[0].clone()]);
    }
}
