//! Introduction of a conversation to a session: `conv` up to the joining of the user, then every later event by itself.
//!
//! So a client that only handles `msg` misses nothing, not even the message that created the conversation.

use bytes::Bytes;
use protocol::response::{ConversationSnapshot, LastEvent};
use protocol::{ConversationId, EncodedEvent, Event, MembershipChange, UserId};

use crate::shard_client::{CommandError, ShardClient};
use crate::state_machine::query::SinceQuery;

/// Maximum number of events since the joining that are sent; of more, only the newest are, with a gap. The replay
/// buffer of a detached session holds no more either.
const SNAPSHOT_EVENTS: usize = 1_024;
/// Maximum bytes of these events.
const SNAPSHOT_BYTES: usize = 1 << 20;

/// Event that follows a `conv`: its seq, and its JSON after the number.
pub(super) type FollowingEvent = (u64, Bytes);

/// Reads the conversation as its member sees it, with all events since the joining. More than one window is read page
/// by page, as after the creation of a large group.
pub(super) async fn view(
    conversations: &ShardClient,
    user: &UserId,
    conv: &ConversationId,
) -> Result<ConversationSnapshot, CommandError> {
    let mut view = conversations.open(user, conv, Some(0)).await?;
    if view.gap
        && let Some(events) = since_joining(conversations, user, conv, view.last.seq).await?
    {
        view.events = Some(events);
        view.gap = false;
    }
    Ok(view)
}

/// Reads the events from the user's joining up to `last`; `None` if some were trimmed, or there are too many.
async fn since_joining(
    conversations: &ShardClient,
    user: &UserId,
    conv: &ConversationId,
    last: u64,
) -> Result<Option<Vec<EncodedEvent>>, CommandError> {
    let (mut events, mut bytes, mut at) = (Vec::new(), 0, 0);
    while at < last {
        let (conv, user) = (conv.clone(), user.clone());
        let page = conversations
            .query(&SinceQuery {
                conv,
                user,
                after: at,
            })
            .await?;
        let first = page.events.first().map_or(last, |event| event.s);
        let more = usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX);
        if page.gap
            || page.events.is_empty()
            || events.len().saturating_add(more) >= SNAPSHOT_EVENTS
            || bytes > SNAPSHOT_BYTES
        {
            return Ok(None);
        }
        // Events above the view's end arrive live.
        for event in page.events.into_iter().take_while(|event| event.s <= last) {
            at = event.s;
            bytes += event.tail.len();
            match EncodedEvent::from_tail(&event.tail) {
                Ok(raw) => events.push(raw),
                Err(_) => return Ok(None),
            }
        }
    }
    Ok(Some(events))
}

/// Splits `conv` behind the event by which the user became a member, and returns the later events separately. A `conv`
/// with a gap or without that event stays whole.
pub(super) fn split_snapshot(
    mut conv: ConversationSnapshot,
    user: &UserId,
) -> (ConversationSnapshot, Vec<FollowingEvent>) {
    let Some(events) = conv.events.take() else {
        return (conv, Vec::new());
    };
    let decoded: Vec<Option<Event>> = events.iter().map(|event| Event::decode(event.as_str())).collect();
    // The last joining: the user may have left and joined before.
    let joined = decoded
        .iter()
        .rposition(|event| matches!(event, Some(Event::Member(m)) if m.member == *user && m.role.is_some() && m.change != MembershipChange::Role));
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
        let last_seq = event.as_ref().map_or(0, |event| last_of(event).seq);
        followers.push((last_seq, Bytes::copy_from_slice(&raw.as_str().as_bytes()[1..])));
    }
    // The shortened `conv` ends before the later events, and so does its message number.
    let mn = conv.last.message_number.saturating_sub(messages);
    conv.last = decoded[joined].as_ref().map_or(conv.last, |event| LastEvent {
        message_number: mn,
        ..last_of(event)
    });
    let mut retained = events;
    retained.truncate(joined + 1);
    conv.events = Some(retained);
    // The joining moved the read cursor to itself. What the later events add, the client counts when they arrive.
    (conv.unread, conv.mentions) = (0, 0);
    (conv, followers)
}

/// Returns true if the event is part of the log.
fn is_placed(event: &Event) -> bool {
    event.position().is_some()
}

fn last_of(event: &Event) -> LastEvent {
    let mn = if let Event::Msg(msg) = event {
        msg.message_number
    } else {
        0
    };
    event
        .position()
        .map_or_else(LastEvent::default, |(_, s, ts)| LastEvent {
            seq: s,
            message_number: mn,
            timestamp_ms: ts,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(events: &str, gap: bool) -> ConversationSnapshot {
        let text = format!(
            r#"{{"c":"g_01","kind":"group","title":null,"role":"member","last":{{"s":4,"mn":2,"ts":9}},"unread":1,"mentions":1,"read":2,"delivered":2,"events":{events},"gap":{gap}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    const EVENTS: &str = r#"[
        {"t":"msg","c":"g_01","s":1,"mn":1,"ts":5,"u":"a","cid":"x","b":{}},
        {"t":"member","c":"g_01","s":2,"ts":6,"u":"a","who":"bob","role":"member","why":"invite"},
        {"t":"msg","c":"g_01","s":3,"mn":2,"ts":7,"u":"a","cid":"y","b":{"text":"hi"}}]"#;

    #[test]
    fn what_came_after_the_join_follows_as_events() {
        let (conv, followers) = split_snapshot(conv(EVENTS, false), &"bob".parse().unwrap());
        assert_eq!(
            conv.last,
            LastEvent {
                seq: 2,
                message_number: 1,
                timestamp_ms: 6
            }
        );
        assert_eq!(
            (conv.unread, conv.mentions),
            (0, 0),
            "the client counts the message that follows"
        );
        assert_eq!(conv.events.unwrap().len(), 2);
        let [(3, tail)] = &followers[..] else {
            panic!("{followers:?}")
        };
        assert!(tail.starts_with(br#""t":"msg","c":"g_01","s":3"#), "{tail:?}");
    }

    #[test]
    fn a_gap_or_a_join_out_of_sight_leaves_it_whole() {
        for (view, user) in [(conv(EVENTS, true), "bob"), (conv(EVENTS, false), "carol")] {
            let (conv, followers) = split_snapshot(view, &user.parse().unwrap());
            assert_eq!((conv.unread, conv.mentions), (1, 1));
            assert_eq!(
                (conv.last.seq, conv.events.unwrap().len(), followers.len()),
                (4, 3, 0)
            );
        }
    }
}
