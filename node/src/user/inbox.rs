//! The inbox: which conversations a user is in, from the user's shard; how each stands, from its owner.
//!
//! Nothing is written per message and member: one request to the user's shard and one to each owner read it when it is
//! wanted. An owner that can't be reached makes its rows `stale`; none is left out for that.

use std::sync::Arc;

use protocol::answer::{Inbox, Item};
use protocol::{ConvId, ErrorCode, Kind, UserId};

use crate::conversation::answer::Refusal;
use crate::conversation::reads::client::scatter;
use crate::conversation::route::ask;
use crate::conversation::shared::Shared;
use crate::conversation::timeline::read::Summary;
use crate::rpc::read::{Index, Indexed, Summaries, Summarised};
use crate::rpc::{self, Refused};

/// Where a page begins: behind the conversation with this time and id.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    ts: u64,
    conv: ConvId,
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
    let convs = index(shared, user).await?;
    let question = |convs: &[&ConvId]| Summaries {
        user: user.clone(),
        convs: convs.iter().map(|conv| (*conv).clone()).collect(),
    };
    let found: Vec<Option<Result<Summary, Refused>>> =
        scatter::<_, _, Summarised, _>(shared, &convs, |conv| conv, rpc::SUMMARIES, question).await;
    let mut rows: Vec<(u64, Item)> = Vec::with_capacity(convs.len());
    for (conv, summary) in convs.into_iter().zip(found) {
        match summary {
            Some(Ok(summary)) => match summary.wire() {
                Ok(item) => rows.push((summary.last.ts, item)),
                Err(_) => rows.push((0, stale(conv))),
            },
            // The list lags behind a removal.
            Some(Err(Refused::NotMember)) => {}
            Some(Err(_)) | None => rows.push((0, stale(conv))),
        }
    }
    Ok(cut(rows, cursor.as_ref(), limit.clamp(1, protocol::limits::PAGE)))
}

/// Sorts the rows and takes those behind the cursor.
fn cut(mut rows: Vec<(u64, Item)>, cursor: Option<&Cursor>, limit: usize) -> Inbox {
    rows.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.c.cmp(&y.c)));
    let behind = |ts: u64, conv: &ConvId| cursor.is_none_or(|c| (c.ts, conv) > (ts, &c.conv) || c.ts > ts);
    rows.retain(|(ts, item)| behind(*ts, &item.c));
    let next = rows.get(limit).is_some().then(|| rows.get(limit - 1)).flatten();
    let next = next.map(|(ts, item)| {
        Cursor {
            ts: *ts,
            conv: item.c.clone(),
        }
        .to_string()
    });
    rows.truncate(limit);
    Inbox {
        items: rows.into_iter().map(|(_, item)| item).collect(),
        next,
    }
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
    fn parse(text: &str) -> Result<Cursor, Refusal> {
        let parts = text
            .split_once('.')
            .and_then(|(ts, conv)| Some((ts.parse().ok()?, ConvId::parse(conv).ok()?)));
        let (ts, conv) = parts.ok_or_else(|| Refusal::new(ErrorCode::BadRequest, "unknown cursor"))?;
        Ok(Cursor { ts, conv })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.ts, self.conv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<(u64, Item)> {
        let row = |ts, id: &str| (ts, stale(ConvId::parse(id).unwrap()));
        vec![row(5, "g_b"), row(9, "g_c"), row(5, "g_a"), row(0, "g_d")]
    }

    #[test]
    fn pages_join_without_a_hole_or_a_repeat() {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let page = cut(rows(), cursor.as_ref(), 1);
            seen.extend(page.items.into_iter().map(|item| item.c.to_string()));
            let Some(next) = page.next else { break };
            cursor = Some(Cursor::parse(&next).unwrap());
        }
        assert_eq!(seen, ["g_c", "g_a", "g_b", "g_d"]);
    }

    #[test]
    fn a_cursor_of_another_make_is_refused() {
        assert_eq!(Cursor::parse("x").unwrap_err().code, ErrorCode::BadRequest);
        assert_eq!(Cursor::parse("5.g_a").unwrap().to_string(), "5.g_a");
    }
}
