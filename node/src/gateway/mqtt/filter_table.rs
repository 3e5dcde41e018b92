//! Subscriptions of one client. Pure.

use std::collections::HashMap;

use super::event_filter::{EventFilter, OwnName};
use super::packet::QualityOfService;

/// Subscriptions of one client, by filter.
#[derive(Debug)]
pub(super) struct FilterTable {
    limit: usize,
    inbox: Option<OwnSubscription>,
    /// True once the session follows every conversation of its user.
    is_inbox_confirmed: bool,
    answers: Option<OwnSubscription>,
    conversations: HashMap<String, ConversationFilter>,
    /// Bytes of all names of conversations.
    bytes: usize,
}

/// Subscription to messages for the client's own user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnSubscription {
    pub(super) quality: QualityOfService,
    pub(super) name: OwnName,
}

/// Subscription to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConversationFilter {
    pub(super) quality: QualityOfService,
    /// True once the session has confirmed the membership.
    pub(super) is_confirmed: bool,
}

/// Route of an event to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventRoute {
    Conversation(QualityOfService),
    Inbox(OwnSubscription),
}

/// Result of adding a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddedFilter {
    Granted,
    /// The session has to confirm the membership first, or that it follows every conversation of its user.
    Unconfirmed,
    TooMany,
}

/// Bytes of all names of conversations, within which they fit into the state of a session.
const NAME_BYTES: usize = 40 << 10;
/// Number of conversations with which they fit into the state of a session beside their names.
const CONVERSATIONS: usize = 2_000;

// === impl FilterTable ===

impl FilterTable {
    /// Creates an empty table for at most `limit` conversations.
    pub(super) fn new(limit: usize) -> FilterTable {
        FilterTable {
            limit: limit.min(CONVERSATIONS),
            inbox: None,
            is_inbox_confirmed: false,
            answers: None,
            conversations: HashMap::new(),
            bytes: 0,
        }
    }

    /// Adds a subscription, or changes the quality of an existing one.
    pub(super) fn add(&mut self, filter: &EventFilter, quality: QualityOfService) -> AddedFilter {
        // Nothing is sent with the highest quality.
        let quality = quality.min(QualityOfService::AtLeastOnce);
        match filter {
            EventFilter::Inbox(name) => {
                self.inbox = Some(OwnSubscription { quality, name: *name });
                if !self.is_inbox_confirmed {
                    return AddedFilter::Unconfirmed;
                }
            }
            EventFilter::Answers(name) => self.answers = Some(OwnSubscription { quality, name: *name }),
            EventFilter::Conversation(conversation) => {
                if let Some(known) = self.conversations.get_mut(conversation.as_str()) {
                    known.quality = quality;
                    return if known.is_confirmed {
                        AddedFilter::Granted
                    } else {
                        AddedFilter::Unconfirmed
                    };
                }
                let bytes = self.bytes + conversation.as_str().len();
                if self.conversations.len() >= self.limit || bytes > NAME_BYTES {
                    return AddedFilter::TooMany;
                }
                self.bytes = bytes;
                let filter = ConversationFilter {
                    quality,
                    is_confirmed: false,
                };
                self.conversations
                    .insert(conversation.as_str().to_owned(), filter);
                return AddedFilter::Unconfirmed;
            }
        }
        AddedFilter::Granted
    }

    /// Marks a subscription as confirmed. Returns false if it was removed meanwhile.
    pub(super) fn confirm(&mut self, filter: &EventFilter) -> bool {
        match filter {
            // The session follows every conversation, by whatever name the client calls its user.
            EventFilter::Inbox(_) => {
                self.is_inbox_confirmed = self.inbox.is_some();
                self.is_inbox_confirmed
            }
            EventFilter::Answers(_) => self.answers.is_some(),
            EventFilter::Conversation(conversation) => {
                let known = self.conversations.get_mut(conversation.as_str());
                known.map(|known| known.is_confirmed = true).is_some()
            }
        }
    }

    /// Returns true if there is this subscription and it is confirmed.
    pub(super) fn is_confirmed(&self, filter: &EventFilter) -> bool {
        match filter {
            EventFilter::Inbox(_) => self.is_inbox_confirmed,
            EventFilter::Answers(_) => self.answers.is_some(),
            EventFilter::Conversation(conversation) => {
                let known = self.conversations.get(conversation.as_str());
                known.is_some_and(|known| known.is_confirmed)
            }
        }
    }

    /// Removes a subscription. Returns false if there was none.
    pub(super) fn remove(&mut self, filter: &EventFilter) -> bool {
        match filter {
            EventFilter::Inbox(name) => {
                let is_removed = self.inbox.take_if(|inbox| inbox.name == *name).is_some();
                self.is_inbox_confirmed &= !is_removed;
                is_removed
            }
            EventFilter::Answers(name) => self.answers.take_if(|answers| answers.name == *name).is_some(),
            EventFilter::Conversation(conversation) => self.remove_conversation(conversation.as_str()),
        }
    }

    /// Removes the subscription to a conversation. Returns false if there was none.
    pub(super) fn remove_conversation(&mut self, conversation: &str) -> bool {
        let is_removed = self.conversations.remove(conversation).is_some();
        if is_removed {
            self.bytes -= conversation.len();
        }
        is_removed
    }

    /// Returns the route of an event. An event that two filters cover comes once, by the topic of the conversation.
    pub(super) fn route(&self, conversation: Option<&str>) -> Option<EventRoute> {
        let known = conversation.and_then(|conversation| self.conversations.get(conversation));
        match known {
            Some(filter) => Some(EventRoute::Conversation(filter.quality)),
            None => self.inbox.map(EventRoute::Inbox),
        }
    }

    /// Returns the subscription to every event, if it is confirmed.
    pub(super) fn confirmed_inbox(&self) -> Option<OwnSubscription> {
        self.inbox.filter(|_| self.is_inbox_confirmed)
    }

    /// Returns the subscription to answers.
    pub(super) fn answers(&self) -> Option<OwnSubscription> {
        self.answers
    }

    /// Returns the confirmed subscriptions to conversations.
    pub(super) fn conversations(&self) -> impl Iterator<Item = (&str, QualityOfService)> {
        let confirmed = self
            .conversations
            .iter()
            .filter(|(_, filter)| filter.is_confirmed);
        confirmed.map(|(conversation, filter)| (conversation.as_str(), filter.quality))
    }
}

#[cfg(test)]
mod tests {
    use protocol::ConversationId;

    use super::*;

    fn chat(name: &str) -> EventFilter {
        EventFilter::Conversation(ConversationId::parse(name).unwrap())
    }

    fn route(table: &FilterTable, name: &str) -> Option<EventRoute> {
        table.route(Some(name))
    }

    const ONCE: QualityOfService = QualityOfService::AtLeastOnce;

    #[test]
    fn topic_of_the_conversation_wins() {
        let mut table = FilterTable::new(10);
        assert_eq!(route(&table, "g_1"), None);
        let inbox = EventFilter::Inbox(OwnName::Me);
        assert_eq!(
            table.add(&inbox, QualityOfService::ExactlyOnce),
            AddedFilter::Unconfirmed
        );
        let subscription = OwnSubscription {
            quality: ONCE,
            name: OwnName::Me,
        };
        assert_eq!(route(&table, "g_1"), Some(EventRoute::Inbox(subscription)));
        assert_eq!(
            table.add(&chat("g_1"), QualityOfService::AtMostOnce),
            AddedFilter::Unconfirmed
        );
        let lowest = EventRoute::Conversation(QualityOfService::AtMostOnce);
        assert_eq!(route(&table, "g_1"), Some(lowest));
        assert_eq!(route(&table, "g_2"), Some(EventRoute::Inbox(subscription)));
        assert_eq!(table.route(None), Some(EventRoute::Inbox(subscription)));
        assert!(table.remove(&inbox) && !table.remove(&inbox));
        assert_eq!(route(&table, "g_2"), None);
    }

    #[test]
    fn membership_is_confirmed_once() {
        let mut table = FilterTable::new(10);
        table.add(&chat("g_1"), ONCE);
        assert_eq!(table.conversations().count(), 0, "not known yet");
        assert_eq!(table.add(&chat("g_1"), ONCE), AddedFilter::Unconfirmed);
        assert!(table.confirm(&chat("g_1")) && !table.confirm(&chat("g_2")));
        assert_eq!(table.add(&chat("g_1"), ONCE), AddedFilter::Granted);
        assert_eq!(table.conversations().count(), 1);
    }

    #[test]
    fn subscription_to_everything_is_confirmed_once() {
        let mut table = FilterTable::new(10);
        let [inbox, by_id] = [OwnName::Me, OwnName::UserId].map(EventFilter::Inbox);
        assert_eq!(table.add(&inbox, ONCE), AddedFilter::Unconfirmed);
        assert!(table.inbox.is_some() && table.confirmed_inbox().is_none());
        assert!(table.confirm(&by_id) && table.confirmed_inbox().is_some());
        assert_eq!(table.add(&by_id, ONCE), AddedFilter::Granted);
        assert!(table.remove(&by_id) && !table.is_confirmed(&by_id));
        assert!(!table.confirm(&by_id), "removed");
        assert_eq!(table.add(&by_id, ONCE), AddedFilter::Unconfirmed);
    }

    #[test]
    fn number_of_conversations_is_bounded() {
        let mut table = FilterTable::new(1);
        assert_eq!(table.add(&chat("g_1"), ONCE), AddedFilter::Unconfirmed);
        assert_eq!(table.add(&chat("g_2"), ONCE), AddedFilter::TooMany);
        assert!(table.remove(&chat("g_1")) && !table.remove(&chat("g_1")));
        assert_eq!(table.bytes, 0);
        assert_eq!(table.add(&chat("g_2"), ONCE), AddedFilter::Unconfirmed);
    }

    #[test]
    fn own_filters_are_removed_by_the_name_they_were_added_with() {
        let mut table = FilterTable::new(1);
        table.add(&EventFilter::Answers(OwnName::UserId), ONCE);
        assert!(!table.remove(&EventFilter::Answers(OwnName::Me)));
        assert!(table.answers().is_some());
        assert!(table.remove(&EventFilter::Answers(OwnName::UserId)));
    }
}
