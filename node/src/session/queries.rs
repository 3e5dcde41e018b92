//! Questions: `open`, `list`, `hist` and `sync`.

use std::collections::{BTreeMap, HashSet};

use actix::Context;
use futures::StreamExt;
use protocol::answer::{Delta, DeltaItem, Hist as Page};
use protocol::command::{Hist, List, Open, Sync};
use protocol::{Answer, ConvId, ErrorCode, UserId, limits};

use super::actor::{Phase, Session};
use super::subscribe::Deliver;
use crate::conversation::{Conversations, Refusal, SyncItem};

/// Conversations of a sync that are read at once, which bounds what is in memory beyond the configured size: each may
/// bring fifty of the largest messages.
const SYNC_AT_ONCE: usize = 16;

// === impl Session: queries ===

impl Session {
    /// `open`.
    pub(super) fn open_conversation(&mut self, ctx: &mut Context<Session>, id: Option<i64>, open: Open) {
        if self.may_ask(id) {
            self.show(ctx, open.c, open.have, Deliver::Answer(id));
        }
    }

    /// `list`.
    pub(super) fn list(&mut self, ctx: &mut Context<Session>, id: Option<i64>, list: List) {
        let limit = self.page(list.limit);
        self.ask(ctx, id, |conversations, user| async move {
            Ok(Answer::Inbox(
                conversations.inbox(&user, list.cursor, limit).await?,
            ))
        });
    }

    /// `hist`.
    pub(super) fn history(&mut self, ctx: &mut Context<Session>, id: Option<i64>, hist: Hist) {
        let limit = self.page(hist.limit);
        self.ask(ctx, id, move |conversations, user| async move {
            let Hist { c, before, after, .. } = hist;
            let page = conversations.history(&user, &c, before, after, limit).await?;
            Ok(Answer::Hist(Page {
                c,
                events: page.events,
                more: page.more,
            }))
        });
    }

    /// `sync`: answered once the session's subscriptions are active, so that nothing falls between the two.
    pub(super) fn sync(&mut self, ctx: &mut Context<Session>, id: Option<i64>, sync: Sync) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        if open.feed.is_settled() {
            self.sync_now(ctx, id, sync);
        } else if open.syncs.len() < 4 {
            open.syncs.push((id, sync));
        } else {
            self.refuse(
                id,
                super::dispatch::too_fast(std::time::Duration::from_millis(500)),
            );
        }
    }

    /// Runs the sync requests that had to wait.
    pub(super) fn run_syncs(&mut self, ctx: &mut Context<Session>) {
        let syncs = match &mut self.phase {
            Phase::Open(open) if open.feed.is_settled() => std::mem::take(&mut open.syncs),
            _ => return,
        };
        for (id, sync) in syncs {
            self.sync_now(ctx, id, sync);
        }
    }

    fn sync_now(&mut self, ctx: &mut Context<Session>, id: Option<i64>, sync: Sync) {
        let most = self.worker.config.limits.sync_page;
        let enough = self.worker.config.limits.sync_bytes;
        self.ask(ctx, id, move |conversations, user| async move {
            let index = conversations.index(&user).await?;
            let (wants, mut next) = plan(sync, index, most);
            let mut items = Vec::new();
            let mut bytes = 0;
            for wants in wants.chunks(SYNC_AT_ONCE) {
                if bytes > enough {
                    next = items.last().map(|item: &SyncItem| item.conv.as_str().to_owned());
                    break;
                }
                let mut found = missed(&conversations, &user, wants.to_vec()).await?;
                found.sort_by(|a, b| a.conv.cmp(&b.conv));
                bytes += found
                    .iter()
                    .flat_map(|item| &item.events)
                    .map(|event| event.as_str().len())
                    .sum::<usize>();
                items.extend(found);
            }
            let as_of = items.iter().map(|item| (item.conv.clone(), item.as_of)).collect();
            let items = items
                .into_iter()
                .filter(|item| item.gap || !item.events.is_empty())
                .map(|item| DeltaItem {
                    c: item.conv,
                    events: item.events,
                    gap: item.gap,
                })
                .collect();
            Ok(Answer::Delta(Delta { as_of, items, next }))
        });
    }

    /// Asks, and answers with what comes.
    fn ask<F: Future<Output = Result<Answer, Refusal>> + 'static>(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        question: impl FnOnce(Conversations, UserId) -> F,
    ) {
        if !self.may_ask(id) {
            return;
        }
        let Phase::Open(open) = &self.phase else { return };
        let answer = question(self.worker.conversations.clone(), open.feed.user_id().clone());
        self.window.question();
        self.wait(ctx, answer, move |session, _ctx, result| {
            session.window.answered();
            match result {
                Ok(answer) => session.answer(id, &answer),
                Err(refusal) => session.refuse(id, refusal),
            }
            session.pump_soon();
        });
    }

    fn page(&self, limit: Option<u64>) -> usize {
        limits::page(limit).min(self.worker.config.limits.page)
    }
}

/// What the user missed. A conversation that is left out is one that the user is no member of, never one that could not
/// be reached: then nothing is answered.
async fn missed(
    conversations: &Conversations,
    user: &UserId,
    wants: Vec<(ConvId, u64)>,
) -> Result<Vec<SyncItem>, Refusal> {
    let mut items = conversations.sync(user, wants.clone()).await;
    let known: HashSet<ConvId> = items.iter().map(|item| item.conv.clone()).collect();
    let absent: Vec<_> = wants
        .into_iter()
        .filter(|(conv, _)| !known.contains(conv))
        .collect();
    let mut again = Vec::new();
    let mut views = futures::stream::iter(absent)
        .map(|want| async move { (conversations.open(user, &want.0, None).await, want) })
        .buffer_unordered(16);
    while let Some((view, want)) = views.next().await {
        match view {
            Ok(_) => again.push(want),
            Err(refusal) if refusal.code.temporary() => return Err(refusal),
            Err(_) => {}
        }
    }
    if !again.is_empty() {
        let expected = again.len();
        let found = conversations.sync(user, again).await;
        if found.len() < expected {
            let msg = "not every conversation could be reached".to_owned();
            return Err(Refusal {
                code: ErrorCode::Unavailable,
                msg,
                retry_ms: Some(1_000),
            });
        }
        items.extend(found);
    }
    Ok(items)
}

/// What one `sync` looks at, and the cursor of the next: conversations in the order of their ids, a page at a time.
///
/// A client with more conversations than fit in `have` names the lowest ids above the cursor; so a full `have` ends the
/// page at its highest id, and what the client has beyond is not sent from the start.
fn plan(sync: Sync, index: Vec<ConvId>, most: usize) -> (Vec<(ConvId, u64)>, Option<String>) {
    let Sync { have, cursor } = sync;
    let full = have.len() >= limits::SYNC_HAVE.min(most);
    let upper = if full {
        have.iter().map(|(conv, _)| conv.clone()).max()
    } else {
        None
    };
    let mut wants: BTreeMap<ConvId, u64> = index.into_iter().map(|conv| (conv, 0)).collect();
    wants.extend(have);
    if let Some(cursor) = &cursor {
        wants.retain(|conv, _| conv.as_str() > cursor.as_str());
    }
    let all = wants.len();
    let page: Vec<_> = wants
        .into_iter()
        .take_while(|(conv, _)| upper.as_ref().is_none_or(|upper| conv <= upper))
        .take(most)
        .collect();
    let next = if page.len() < all {
        page.last().map(|(conv, _)| conv.as_str().to_owned())
    } else {
        None
    };
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(i: usize) -> ConvId {
        ConvId::parse(&format!("g_{i:04}")).unwrap()
    }

    #[test]
    fn what_the_client_does_not_name_is_sent_from_the_start() {
        let sync = Sync {
            have: vec![(conv(2), 7)],
            cursor: None,
        };
        let (wants, next) = plan(sync, vec![conv(3), conv(2), conv(1)], 200);
        assert_eq!(wants, [(conv(1), 0), (conv(2), 7), (conv(3), 0)]);
        assert_eq!(next, None);
    }

    #[test]
    fn pages_cover_everything_once_and_send_nothing_from_the_start_that_the_client_has() {
        let index: Vec<_> = (0..450).rev().map(conv).collect();
        let mut cursor = None;
        let mut seen = Vec::new();
        loop {
            let above = |i: &usize| {
                cursor
                    .as_ref()
                    .is_none_or(|cursor| conv(*i).as_str() > String::as_str(cursor))
            };
            // The client has the first 430, each up to 9.
            let have = (0..430).filter(above).take(200).map(|i| (conv(i), 9)).collect();
            let (wants, next) = plan(
                Sync {
                    have,
                    cursor: cursor.clone(),
                },
                index.clone(),
                200,
            );
            seen.extend(wants);
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let expected: Vec<_> = (0..450).map(|i| (conv(i), if i < 430 { 9 } else { 0 })).collect();
        assert_eq!(seen, expected);
    }
}
