//! Mentions that don't count: those by users whom one blocks.
//!
//! The shard of a group knows nobody's blocks, so it counts every mention. Whoever has blocked somebody, and is shown a
//! count that is not 0, is asked for here: who wrote the messages, and whom the user blocks. It costs the others nothing
//! but one look at an empty list, and only while somebody's mention is unread.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::answer::Item;
use protocol::{ConvId, UserId};

use crate::conversation::answer::Refusal;
use crate::conversation::reads::client::{self, scatter};
use crate::conversation::shared::Shared;
use crate::rpc;
use crate::rpc::read::{Mentioning, Summaries};

/// Takes the mentions by those whom the user blocks out of the counts. Where that can't be found out now, they stay in.
pub(crate) async fn without_blocked(shared: &Arc<Shared>, user: &UserId, items: &mut [Item]) {
    let mentioned: Vec<ConvId> = items
        .iter()
        .filter(|item| item.mentions > 0)
        .map(|item| item.c.clone())
        .collect();
    if mentioned.is_empty() {
        return;
    }
    let blocked = match blocked(shared, user).await {
        Ok(blocked) if !blocked.is_empty() => blocked,
        _ => return,
    };
    let question = |convs: &[&ConvId]| Summaries {
        user: user.clone(),
        convs: convs.iter().map(|conv| (*conv).clone()).collect(),
    };
    let found =
        scatter::<_, _, Mentioning, _>(shared, &mentioned, |conv| conv, rpc::MENTIONING, question).await;
    for (conv, authors) in mentioned.iter().zip(found) {
        let item = items.iter_mut().find(|item| item.c == *conv);
        if let (Some(item), Some(Ok(authors))) = (item, authors) {
            let counts = authors.iter().filter(|author| !blocked.contains(*author));
            item.mentions = counts.count() as u64;
        }
    }
}

/// Everybody whom the user blocks.
async fn blocked(shared: &Arc<Shared>, user: &UserId) -> Result<HashSet<UserId>, Refusal> {
    let (mut all, mut after) = (HashSet::new(), None);
    loop {
        let page = client::blocks(shared, user, after, protocol::limits::PAGE).await?;
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}
