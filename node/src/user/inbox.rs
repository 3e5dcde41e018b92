//! The inbox: which conversations a user is in, from the user's shard; how each stands, from its owner.
//!
//! Nothing is written per message and member: one request to the user's shard and one to each owner read it when it is
//! wanted. An owner that can't be reached makes its rows `stale`; none is left out for that.

use std::sync::Arc;

use protocol::answer::{Inbox, Item};
use protocol::{ConvId, ErrorCode, Kind, UserId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::conversation::answer::Refusal;
use crate::conversation::reads::client::{scatter, shard_of};
use crate::conversation::route::ask;
use crate::conversation::shared::Shared;
use crate::conversation::timeline::read::{IndexPage, Summary};
use crate::rpc::read::{Index, IndexAfter, Indexed, Summaries, Summarised};
use crate::rpc::{self, Refused};

/// Conversations of one inbox; of more, those joined last.
const MOST: usize = 10_000;
/// Conversations that the user's shard names in one answer.
const NAMED: u32 = 1_000;
/// What happened so long before a list was begun may not be in it: clocks of owners differ, and what is proposed is
/// applied a little later.
const SLACK_MS: u64 = 2_000;

/// Where a page begins, and what has to come again at the end of the list so that nothing is left out.
///
/// Pages are cut from what there is when each is read. Between two, a conversation may move to the front, where the
/// reader has been already, or have had no place because its owner didn't answer. So behind the last page come, oldest
/// first, those that something happened in since the list was begun, and those of shards that were silent meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    /// The list has come to its end: what follows is what has to come again.
    again: bool,
    /// When the list was begun.
    since: u64,
    /// Shards that were silent on a page so far, a bit each (modulo 64).
    silent: u64,
    /// A sum over the rows shown so far that would come again: if at the end it is theirs, nothing was left out.
    shown: u64,
    /// The time and the conversation of the last row; none: before the first.
    ts: u64,
    conv: Option<ConvId>,
}

/// A row, and what it is sorted by.
#[derive(Clone, Debug)]
struct Row {
    ts: u64,
    /// Its last event.
    s: u64,
    shard: u16,
    item: Item,
}

/// The user's conversations, the one joined last first.
pub(crate) async fn index(shared: &Arc<Shared>, user: &UserId) -> Result<Vec<ConvId>, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    ask::<_, Indexed>(shared, shard, rpc::INDEX, &Index { user: user.clone() }).await
}

/// A page of the inbox, the latest activity first.
pub(crate) async fn page(
    shared: &Arc<Shared>,
    user: &UserId,
    cursor: Option<String>,
    limit: usize,
) -> Result<Inbox, Refusal> {
    let cursor = cursor.map(|text| Cursor::parse(&text)).transpose()?;
    let cursor = cursor.unwrap_or_else(|| Cursor::begin(shared.settings.clock.now_ms()));
    let convs = all(shared, user).await?;
    let question = |convs: &[&ConvId]| Summaries {
        user: user.clone(),
        convs: convs.iter().map(|conv| (*conv).clone()).collect(),
    };
    let found: Vec<Option<Result<Summary, Refused>>> =
        scatter::<_, _, Summarised, _>(shared, &convs, |conv| conv, rpc::SUMMARIES, question).await;
    let mut rows = Vec::with_capacity(convs.len());
    for (conv, summary) in convs.into_iter().zip(found) {
        let shard = shard_of(shared, &conv)?.0;
        let (ts, s, item) = match summary {
            Some(Ok(summary)) => match summary.wire() {
                Ok(item) => (summary.last.ts, summary.last.s, item),
                Err(_) => (0, 0, stale(conv)),
            },
            // The list lags behind a removal.
            Some(Err(Refused::NotMember)) => continue,
            Some(Err(_)) | None => (0, 0, stale(conv)),
        };
        rows.push(Row { ts, s, shard, item });
    }
    Ok(cut(rows, cursor, limit.clamp(1, protocol::limits::PAGE)))
}

/// All conversations of the user, the ids in order.
async fn all(shared: &Arc<Shared>, user: &UserId) -> Result<Vec<ConvId>, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    let shard = cluster.shard_of(user.as_str().as_bytes());
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let question = IndexAfter {
            user: user.clone(),
            after,
            limit: NAMED,
        };
        let page: IndexPage = ask(shared, shard, rpc::INDEX_AFTER, &question).await?;
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if items.len() > MOST {
        items.sort_by_key(|item| std::cmp::Reverse(item.since_ms));
        items.truncate(MOST);
    }
    Ok(items.into_iter().map(|item| item.conv).collect())
}

/// Takes the rows behind the cursor, and says where the next page begins.
fn cut(rows: Vec<Row>, mut cursor: Cursor, limit: usize) -> Inbox {
    if !cursor.again {
        for row in rows.iter().filter(|row| row.item.stale) {
            cursor.silent |= bit(row.shard);
        }
    }
    let first = !cursor.again && cursor.conv.is_none();
    let (mut page, rest) = rows.into_iter().partition::<Vec<Row>, _>(|row| {
        cursor.is_before(row.ts, &row.item.c) && (!cursor.again || cursor.comes_again(row))
    });
    page.sort_by(|a, b| {
        let order = if cursor.again {
            a.ts.cmp(&b.ts)
        } else {
            b.ts.cmp(&a.ts)
        };
        order.then_with(|| a.item.c.cmp(&b.item.c))
    });
    let more = page.len() > limit;
    page.truncate(limit);
    let all = sum(&cursor, page.iter().chain(&rest));
    cursor.shown ^= sum(&cursor, page.iter());
    let next = if let (true, Some(last)) = (more, page.last()) {
        let (ts, conv) = (last.ts, Some(last.item.c.clone()));
        Some(Cursor { ts, conv, ..cursor })
    } else if !cursor.again && !first && cursor.shown != all {
        Some(Cursor {
            again: true,
            ts: 0,
            conv: None,
            ..cursor
        })
    } else {
        None
    };
    Inbox {
        items: page.into_iter().map(|row| row.item).collect(),
        next: next.map(|next| next.to_string()),
    }
}

/// A sum over those of the rows that would come again: of each, what it is and how far.
fn sum<'a>(cursor: &Cursor, rows: impl Iterator<Item = &'a Row>) -> u64 {
    let rows = rows.filter(|row| cursor.comes_again(row));
    rows.fold(0, |sum, row| {
        sum ^ xxh3_64_with_seed(row.item.c.as_str().as_bytes(), row.s)
    })
}

/// The bit of a shard.
fn bit(shard: u16) -> u64 {
    1 << (shard % 64)
}

/// A row whose owner could not be reached.
fn stale(conv: ConvId) -> Item {
    Item {
        kind: conv.kind().unwrap_or(Kind::Group),
        c: conv,
        title: None,
        role: None,
        last: None,
        unread: 0,
        mentions: 0,
        read: 0,
        delivered: 0,
        muted: false,
        pinned: false,
        peer: None,
        stale: true,
    }
}

// === impl Cursor ===

impl Cursor {
    /// The beginning of a list.
    fn begin(now_ms: u64) -> Cursor {
        Cursor {
            again: false,
            since: now_ms.saturating_sub(SLACK_MS),
            silent: 0,
            shown: 0,
            ts: 0,
            conv: None,
        }
    }

    /// Whether a row comes after the last one of the page before.
    fn is_before(&self, ts: u64, conv: &ConvId) -> bool {
        let Some(last) = &self.conv else { return true };
        let further = if self.again { ts > self.ts } else { ts < self.ts };
        further || ts == self.ts && conv > last
    }

    /// Whether a row comes again at the end of the list.
    fn comes_again(&self, row: &Row) -> bool {
        row.ts >= self.since || self.silent & bit(row.shard) != 0
    }

    fn parse(text: &str) -> Result<Cursor, Refusal> {
        let read = |text: &str| {
            let (again, text) = match text.strip_prefix('+') {
                Some(text) => (true, text),
                None => (false, text),
            };
            let mut parts = text.splitn(5, '.');
            let since = parts.next()?.parse().ok()?;
            let silent = u64::from_str_radix(parts.next()?, 16).ok()?;
            let shown = u64::from_str_radix(parts.next()?, 16).ok()?;
            let ts = parts.next()?.parse().ok()?;
            let conv = match parts.next()? {
                "" if again => None,
                conv => Some(ConvId::parse(conv).ok()?),
            };
            Some(Cursor {
                again,
                since,
                silent,
                shown,
                ts,
                conv,
            })
        };
        read(text).ok_or_else(|| Refusal::new(ErrorCode::BadRequest, "unknown cursor"))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let again = if self.again { "+" } else { "" };
        let conv = self.conv.as_ref().map_or("", ConvId::as_str);
        write!(
            f,
            "{again}{}.{:x}.{:x}.{}.{conv}",
            self.since, self.silent, self.shown, self.ts
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn row(ts: u64, id: &str, shard: u16) -> Row {
        let item = Item {
            stale: false,
            ..stale(ConvId::parse(id).unwrap())
        };
        let s = ts;
        Row { ts, s, shard, item }
    }

    fn ids(page: &Inbox) -> Vec<String> {
        page.items.iter().map(|item| item.c.to_string()).collect()
    }

    #[test]
    fn pages_join_without_a_hole_or_a_repeat() {
        let rows = || {
            vec![
                row(5, "g_b", 0),
                row(9, "g_c", 0),
                row(5, "g_a", 0),
                row(0, "g_d", 0),
            ]
        };
        // Fresh or from long ago.
        for (limit, began) in (1..6).flat_map(|limit| [(limit, 0), (limit, 100_000)]) {
            let (mut seen, mut cursor) = (Vec::new(), Cursor::begin(began));
            loop {
                let page = cut(rows(), cursor, limit);
                assert!(page.items.len() <= limit);
                seen.extend(ids(&page));
                let Some(next) = page.next else { break };
                cursor = Cursor::parse(&next).unwrap();
            }
            assert_eq!(seen, ["g_c", "g_a", "g_b", "g_d"], "{limit}");
        }
    }

    #[test]
    fn what_moved_to_the_front_meanwhile_comes_at_the_end() {
        let rows = |c| vec![row(9, "g_a", 0), row(8, "g_b", 0), row(c, "g_c", 0)];
        let first = cut(rows(7), Cursor::begin(100_000), 1);
        let second = cut(rows(200_000), Cursor::parse(&first.next.unwrap()).unwrap(), 2);
        assert_eq!(
            (ids(&first_of("g_a")), ids(&second)),
            (vec!["g_a".to_owned()], vec!["g_b".to_owned()])
        );
        let third = cut(rows(200_000), Cursor::parse(&second.next.unwrap()).unwrap(), 2);
        assert_eq!((ids(&third), third.next), (vec!["g_c".to_owned()], None));
    }

    fn first_of(id: &str) -> Inbox {
        cut(vec![row(1, id, 0)], Cursor::begin(0), 1)
    }

    #[test]
    fn a_cursor_of_another_make_is_refused() {
        for text in ["x", "5.g_a", "5.0.0.5.", "5.0.0.x.g_a", "+5.0.0.5"] {
            assert_eq!(
                Cursor::parse(text).unwrap_err().code,
                ErrorCode::BadRequest,
                "{text}"
            );
        }
        for text in ["5.1f.0.5.g_a", "+5.0.ab.0.", "+5.0.0.7.g_a"] {
            assert_eq!(Cursor::parse(text).unwrap().to_string(), text);
        }
    }

    proptest! {
        /// Messages arrive and shards fall silent and come back, page by page: every conversation is shown, and the
        /// list ends.
        #[test]
        fn no_conversation_is_left_out_whatever_happens_between_the_pages(
            count in 1..40usize,
            limit in 1..7usize,
            events in prop::collection::vec((0..40usize, any::<bool>(), 0..8u16), 0..60),
        ) {
            let start = 1_000_000u64;
            let mut rows: Vec<Row> = (0..count)
                .map(|i| row(start - 10_000 - i as u64 % 9 * 100, &format!("g_{i:02}"), i as u16 % 4))
                .collect();
            let mut silent = None;
            let (mut seen, mut cursor, mut now) = (BTreeSet::new(), Cursor::begin(start), start);
            let mut events = events.into_iter();
            for pages in 0.. {
                prop_assert!(pages < 400, "it never ends");
                let shown = rows.iter().map(|row| {
                    let mut row = row.clone();
                    if silent == Some(row.shard) {
                        (row.ts, row.s, row.item.stale) = (0, 0, true);
                    }
                    row
                });
                let page = cut(shown.collect(), cursor, limit);
                prop_assert!(page.items.len() <= limit);
                seen.extend(ids(&page));
                let Some(next) = page.next else { break };
                cursor = Cursor::parse(&next).unwrap();
                if let Some((at, arrives, shard)) = events.next() {
                    now += 10;
                    if arrives {
                        let row = &mut rows[at % count];
                        (row.ts, row.s) = (now, now);
                    } else if !cursor.again {
                        // At the end of a list one failure more may cost a row: it is then asked for anew.
                        silent = (shard < 4).then_some(shard);
                    }
                }
            }
            prop_assert_eq!(seen.len(), count);
        }
    }
}
