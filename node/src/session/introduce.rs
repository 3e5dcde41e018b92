//! How a conversation is introduced to a session: `conv` up to where the user came in, then what happened since, each
//! as the event it was.
//!
//! So a client that only listens for `msg` misses nothing, not even the message that made the conversation.

use bytes::Bytes;
use protocol::answer::{Conv, Last};
use protocol::{ConvId, Event, RawEvent, UserId, Why};

use crate::conversation::{Conversations, Refusal};

/// Events since the user came in that are shown; of more only the newest are, with a gap. A session keeps no more for a
/// client that is away, either.
const SHOWN: usize = 1_024;
/// Bytes of them.
const SHOWN_BYTES: usize = 1 << 20;

/// An event that follows a `conv`: its place in the log, and its tail.
pub(super) type Follower = (u64, Bytes);

/// The conversation as its member sees it, with everything since the user came in: read page by page where it is more
/// than one window, as after the making of a large group.
pub(super) async fn view(
    conversations: &Conversations,
    user: &UserId,
    conv: &ConvId,
) -> Result<Conv, Refusal> {
    let mut view = conversations.open(user, conv, Some(0)).await?;
    if view.gap
        && let Some(events) = since_joining(conversations, user, conv, view.last.s).await?
    {
        view.events = Some(events);
        view.gap = false;
    }
    Ok(view)
}

/// The events from the one by which the user came in up to `last`; `None` when some are gone, or there are too many.
async fn since_joining(
    conversations: &Conversations,
    user: &UserId,
    conv: &ConvId,
    last: u64,
) -> Result<Option<Vec<RawEvent>>, Refusal> {
    let (mut events, mut bytes, mut at) = (Vec::new(), 0, 0);
    while at < last {
        let page = conversations.missed(user, conv, at).await?;
        let first = page.events.first().map_or(last, |event| event.s);
        let more = usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX);
        if page.gap
            || page.events.is_empty()
            || events.len().saturating_add(more) >= SHOWN
            || bytes > SHOWN_BYTES
        {
            return Ok(None);
        }
        for event in page.events.into_iter().take_while(|event| event.s <= last) {
            at = event.s;
            bytes += event.tail.len();
            match RawEvent::from_tail(&event.tail) {
                Ok(raw) => events.push(raw),
                Err(_) => return Ok(None),
            }
        }
    }
    Ok(Some(events))
}

/// Cuts `conv` behind the event by which the user became a member, and returns what comes after it. A `conv` with a
/// gap, or without that event, stays whole.
pub(super) fn introduce(mut conv: Conv, user: &UserId) -> (Conv, Vec<Follower>) {
    let Some(events) = conv.events.take() else {
        return (conv, Vec::new());
    };
    let decoded: Vec<Option<Event>> = events.iter().map(|event| Event::decode(event.as_str())).collect();
    let joined = decoded
        .iter()
        .rposition(|event| matches!(event, Some(Event::Member(m)) if m.who == *user && m.role.is_some() && m.why != Why::Role));
    let Some(joined) =
        joined.filter(|_| !conv.gap && decoded.iter().all(|event| event.as_ref().is_some_and(is_placed)))
    else {
        conv.events = Some(events);
        return (conv, Vec::new());
    };
    let mut messages = 0;
    let mut followers = Vec::new();
    for (raw, event) in events.iter().zip(&decoded).skip(joined + 1) {
        messages += u64::from(matches!(event, Some(Event::Msg(_))));
        let place = event.as_ref().map_or(0, |event| last_of(event).s);
        followers.push((place, Bytes::copy_from_slice(&raw.as_str().as_bytes()[1..])));
    }
    let mn = conv.last.mn.saturating_sub(messages);
    conv.last = decoded[joined]
        .as_ref()
        .map_or(conv.last, |event| Last { mn, ..last_of(event) });
    let mut kept = events;
    kept.truncate(joined + 1);
    conv.events = Some(kept);
    (conv, followers)
}

/// Whether the event stands in the log.
fn is_placed(event: &Event) -> bool {
    event.place().is_some()
}

fn last_of(event: &Event) -> Last {
    let mn = if let Event::Msg(msg) = event { msg.mn } else { 0 };
    event
        .place()
        .map_or_else(Last::default, |(_, s, ts)| Last { s, mn, ts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(events: &str, gap: bool) -> Conv {
        let text = format!(
            r#"{{"c":"g_01","kind":"group","title":null,"role":"member","last":{{"s":4,"mn":2,"ts":9}},"read":2,"delivered":2,"events":{events},"gap":{gap}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    const EVENTS: &str = r#"[
        {"t":"msg","c":"g_01","s":1,"mn":1,"ts":5,"u":"a","cid":"x","b":{}},
        {"t":"member","c":"g_01","s":2,"ts":6,"u":"a","who":"bob","role":"member","why":"invite"},
        {"t":"msg","c":"g_01","s":3,"mn":2,"ts":7,"u":"a","cid":"y","b":{"text":"hi"}}]"#;

    #[test]
    fn what_came_after_the_join_follows_as_events() {
        let (conv, followers) = introduce(conv(EVENTS, false), &"bob".parse().unwrap());
        assert_eq!(conv.last, Last { s: 2, mn: 1, ts: 6 });
        assert_eq!(conv.events.unwrap().len(), 2);
        let [(3, tail)] = &followers[..] else {
            panic!("{followers:?}")
        };
        assert!(tail.starts_with(br#""t":"msg","c":"g_01","s":3"#), "{tail:?}");
    }

    #[test]
    fn a_gap_or_a_join_out_of_sight_leaves_it_whole() {
        for (view, user) in [(conv(EVENTS, true), "bob"), (conv(EVENTS, false), "carol")] {
            let (conv, followers) = introduce(view, &user.parse().unwrap());
            assert_eq!(
                (conv.last.s, conv.events.unwrap().len(), followers.len()),
                (4, 3, 0)
            );
        }
    }
}
