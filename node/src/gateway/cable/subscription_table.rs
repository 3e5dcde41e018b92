//! Subscriptions of one connection, by identifier and by conversation. Pure.

use std::collections::HashMap;
use std::rc::Rc;

use protocol::{ConversationId, UserId};
use smallvec::SmallVec;

use super::channel_stream::ChannelStream;
use super::identifier::ChannelIdentifier;

/// Number of a subscription. An identifier that is subscribed to again gets another one, so that late answers to the
/// earlier one are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SubscriptionKey(u64);

/// Subscriptions to one conversation; more than one is rare.
type Keys = SmallVec<[SubscriptionKey; 2]>;

/// Bounds of the subscriptions of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubscriptionLimits {
    pub(super) count: usize,
    /// Bytes of all identifiers together.
    pub(super) bytes: usize,
}

/// Subscription to a channel.
#[derive(Debug)]
pub(super) struct CableSubscription {
    pub(super) text: Rc<str>,
    /// Identifier as a JSON string.
    pub(super) quoted: Rc<str>,
    /// `None`: all events of the session.
    pub(super) conversation: Option<ConversationId>,
    /// Direct conversation, which may not exist yet.
    pub(super) is_direct: bool,
    pub(super) stream: ChannelStream,
}

/// Subscriptions of one connection.
#[derive(Debug)]
pub(super) struct SubscriptionTable {
    limits: SubscriptionLimits,
    last: u64,
    bytes: usize,
    subscriptions: HashMap<SubscriptionKey, CableSubscription>,
    by_text: HashMap<Rc<str>, SubscriptionKey>,
    by_conversation: HashMap<ConversationId, Keys>,
    inboxes: Vec<SubscriptionKey>,
}

// === impl SubscriptionTable ===

impl SubscriptionTable {
    pub(super) fn new(limits: SubscriptionLimits) -> SubscriptionTable {
        SubscriptionTable {
            limits,
            last: 0,
            bytes: 0,
            subscriptions: HashMap::new(),
            by_text: HashMap::new(),
            by_conversation: HashMap::new(),
            inboxes: Vec::new(),
        }
    }

    /// Adds a subscription of this user. Returns `None` if there are too many.
    pub(super) fn add(
        &mut self,
        identifier: &ChannelIdentifier,
        user: &UserId,
        stream: ChannelStream,
    ) -> Option<SubscriptionKey> {
        let bytes = self.bytes + identifier.text().len();
        if self.subscriptions.len() >= self.limits.count || bytes > self.limits.bytes {
            return None;
        }
        self.bytes = bytes;
        self.last += 1;
        let key = SubscriptionKey(self.last);
        let conversation = identifier.conversation(user);
        match &conversation {
            Some(conversation) => self
                .by_conversation
                .entry(conversation.clone())
                .or_default()
                .push(key),
            None => self.inboxes.push(key),
        }
        self.by_text.insert(identifier.text().clone(), key);
        let subscription = CableSubscription {
            text: identifier.text().clone(),
            quoted: identifier.quoted().into(),
            conversation,
            is_direct: identifier.is_direct(),
            stream,
        };
        self.subscriptions.insert(key, subscription);
        Some(key)
    }

    pub(super) fn remove(&mut self, key: SubscriptionKey) {
        let Some(removed) = self.subscriptions.remove(&key) else {
            return;
        };
        self.bytes -= removed.text.len();
        self.by_text.remove(&removed.text);
        match &removed.conversation {
            None => self.inboxes.retain(|inbox| *inbox != key),
            Some(conversation) => {
                if let Some(keys) = self.by_conversation.get_mut(conversation) {
                    keys.retain(|known| *known != key);
                    if keys.is_empty() {
                        self.by_conversation.remove(conversation);
                    }
                }
            }
        }
    }

    pub(super) fn find(&self, text: &str) -> Option<SubscriptionKey> {
        self.by_text.get(text).copied()
    }

    pub(super) fn get(&self, key: SubscriptionKey) -> Option<&CableSubscription> {
        self.subscriptions.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: SubscriptionKey) -> Option<&mut CableSubscription> {
        self.subscriptions.get_mut(&key)
    }

    /// Returns the subscriptions to a conversation, in the order in which they were added.
    pub(super) fn of_conversation(&self, conversation: &str) -> Keys {
        self.by_conversation
            .get(conversation)
            .cloned()
            .unwrap_or_default()
    }

    /// Returns the subscriptions to all events of the session.
    pub(super) fn inboxes(&self) -> &[SubscriptionKey] {
        &self.inboxes
    }

    /// Returns all subscriptions, in the order in which they were added.
    pub(super) fn keys(&self) -> Vec<SubscriptionKey> {
        let mut keys: Vec<SubscriptionKey> = self.subscriptions.keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Returns true if a subscription is for events of this conversation.
    pub(super) fn covers(&self, conversation: &str) -> bool {
        !self.inboxes.is_empty() || self.by_conversation.contains_key(conversation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(count: usize, bytes: usize) -> SubscriptionTable {
        SubscriptionTable::new(SubscriptionLimits { count, bytes })
    }

    fn add(table: &mut SubscriptionTable, text: &str) -> Option<SubscriptionKey> {
        let identifier = ChannelIdentifier::parse(text).unwrap();
        table.add(
            &identifier,
            &"alice".parse().unwrap(),
            ChannelStream::opening(None),
        )
    }

    #[test]
    fn subscriptions_are_found_by_text_and_by_conversation() {
        let mut table = table(10, 1_000);
        let first = add(&mut table, r#"{"channel":"ChatChannel","c":"g_1"}"#).unwrap();
        let second = add(&mut table, r#"{"channel":"RoomChannel","room":"g_1"}"#).unwrap();
        assert!(!table.covers("g_2"));
        let inbox = add(&mut table, r#"{"channel":"InboxChannel"}"#).unwrap();
        assert_eq!(table.of_conversation("g_1")[..], [first, second]);
        assert_eq!(table.inboxes(), [inbox]);
        assert!(table.covers("g_1") && table.covers("g_2"));
        assert_eq!(table.keys(), [first, second, inbox]);

        table.remove(first);
        assert_eq!(table.of_conversation("g_1")[..], [second]);
        assert_eq!(table.find(r#"{"channel":"ChatChannel","c":"g_1"}"#), None);
        let again = add(&mut table, r#"{"channel":"ChatChannel","c":"g_1"}"#).unwrap();
        assert_ne!(again, first, "a late answer belongs to the earlier subscription");
        for key in [second, inbox, again] {
            table.remove(key);
        }
        assert!(table.by_conversation.is_empty() && table.by_text.is_empty() && table.bytes == 0);
    }

    #[test]
    fn number_and_bytes_are_bounded() {
        let mut few = table(1, 1_000);
        assert!(add(&mut few, r#"{"channel":"ChatChannel","c":"g_1"}"#).is_some());
        assert_eq!(add(&mut few, r#"{"channel":"ChatChannel","c":"g_2"}"#), None);
        let mut small = table(10, 40);
        assert!(add(&mut small, r#"{"channel":"ChatChannel","c":"g_1"}"#).is_some());
        assert_eq!(add(&mut small, r#"{"channel":"ChatChannel","c":"g_2"}"#), None);
    }
}
