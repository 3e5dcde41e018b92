//! What is to be told to one node: bounded by the node's sessions and by whom it watches.
//!
//! Of a user's comings and goings only the newest counts, so it is looked up when the news is sent.

use std::collections::HashSet;
use std::time::Instant;

use cluster::NodeId;
use protocol::UserId;

use super::Directory;
use crate::rpc::presence::{Item, News};

/// Items in one message.
const PAGE: usize = 512;

/// What waits for a node.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    items: Vec<Item>,
    changed: HashSet<UserId>,
    /// News is on its way.
    under_way: bool,
    /// After news that did not arrive, not before then.
    not_before: Option<Instant>,
}

// === impl Mailbox ===

impl Mailbox {
    pub(super) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    pub(super) fn changed(&mut self, user: &UserId) {
        self.changed.insert(user.clone());
    }

    fn ready(&self, now: Instant) -> bool {
        let any = !self.items.is_empty() || !self.changed.is_empty();
        any && !self.under_way && self.not_before.is_none_or(|at| at <= now)
    }
}

// === impl Directory ===

impl Directory {
    /// Takes the news that can be sent now.
    pub(super) fn take_news(
        &mut self,
        shard: u16,
        epoch: u64,
        now: Instant,
        now_ms: u64,
    ) -> Vec<(NodeId, News)> {
        let ready = self.nodes.iter().filter(|(_, place)| place.mail.ready(now));
        let ready: Vec<NodeId> = ready.map(|(node, _)| *node).collect();
        let mut out = Vec::with_capacity(ready.len());
        for node in ready {
            let Some(place) = self.nodes.get_mut(&node) else {
                continue;
            };
            let registration = place.registration;
            let take = place.mail.items.len().min(PAGE);
            let mut items: Vec<Item> = place.mail.items.drain(..take).collect();
            let users: Vec<UserId> = place.mail.changed.iter().take(PAGE - take).cloned().collect();
            for user in &users {
                place.mail.changed.remove(user);
            }
            place.mail.under_way = true;
            for user in users {
                let state = self.state(&user, now, now_ms);
                items.push(Item::Presence { user, state });
            }
            let news = News {
                shard,
                epoch,
                registration,
                items,
            };
            out.push((node, news));
        }
        out
    }

    /// The node has the news.
    pub(super) fn told(&mut self, node: NodeId, registration: u64) {
        if let Some(place) = self
            .nodes
            .get_mut(&node)
            .filter(|place| place.registration == registration)
        {
            place.mail.under_way = false;
            place.mail.not_before = None;
        }
    }

    /// The news may not have arrived: it is told again after `retry_at`, unless the node registers anew before.
    pub(super) fn untold(&mut self, node: NodeId, news: News, retry_at: Instant) {
        let place = self
            .nodes
            .get_mut(&node)
            .filter(|place| place.registration == news.registration);
        let Some(place) = place else { return };
        place.mail.under_way = false;
        place.mail.not_before = Some(retry_at);
        let mut items = Vec::new();
        for item in news.items {
            match item {
                Item::Presence { user, .. } => {
                    place.mail.changed.insert(user);
                }
                item => items.push(item),
            }
        }
        // Before what came meanwhile: a block that was taken back stays taken back.
        items.append(&mut place.mail.items);
        place.mail.items = items;
    }

    /// Whether some news waits for its time, and until when.
    pub(super) fn news_due(&self) -> Option<Instant> {
        let waiting = self.nodes.values().filter(|place| {
            !place.mail.under_way && (!place.mail.items.is_empty() || !place.mail.changed.is_empty())
        });
        waiting.filter_map(|place| place.mail.not_before).min()
    }
}
