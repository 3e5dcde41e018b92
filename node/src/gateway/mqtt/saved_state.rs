//! State of a client that is carried with its session. Pure.

use bytes::Bytes;
use protocol::ConversationId;
use serde::{Deserialize, Serialize};

use super::event_filter::{EventFilter, OwnName};
use super::filter_table::{FilterTable, OwnSubscription};
use super::packet::QualityOfService;

/// State that the next connection of the client continues.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedState {
    /// Number of the last event that may have been sent.
    sent: u64,
    /// True if the session ended with its connection, by the client's wish.
    #[serde(rename = "end")]
    is_over: bool,
    inbox: Option<SavedFilter>,
    answers: Option<SavedFilter>,
    #[serde(rename = "c")]
    conversations: Vec<(String, u8)>,
}

/// Subscription to messages for the client's own user: quality, and true for the user's id in the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedFilter(u8, bool);

// === impl SavedState ===

impl SavedState {
    pub(super) fn of(filters: &FilterTable, sent: u64, is_over: bool) -> SavedState {
        let conversations = filters
            .conversations()
            .map(|(conversation, quality)| (conversation.to_owned(), quality as u8));
        SavedState {
            sent,
            is_over,
            inbox: filters.confirmed_inbox().map(SavedFilter::from),
            answers: filters.answers().map(SavedFilter::from),
            conversations: conversations.collect(),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        // Texts and numbers are always serialisable; without a state the client subscribes anew.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Decodes a state. One that cannot be read counts as that of an ended session, so the client subscribes anew.
    pub(super) fn decode(state: &[u8]) -> SavedState {
        serde_json::from_slice(state).unwrap_or(SavedState {
            is_over: true,
            ..SavedState::default()
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Number of the last event that may have been sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Forgets the number of the last event, because the events of the session begin with other numbers.
    pub(super) fn without_numbers(self) -> SavedState {
        SavedState { sent: 0, ..self }
    }

    /// Adds the subscriptions to a table.
    pub(super) fn restore(&self, filters: &mut FilterTable) {
        let mut add = |filter: &EventFilter, quality| {
            // Those beyond a lower limit of this node are not restored. The session follows what it followed.
            let _added = filters.add(filter, quality_of(quality));
            filters.confirm(filter);
        };
        if let Some(SavedFilter(quality, by_id)) = self.inbox {
            add(&EventFilter::Inbox(name_of(by_id)), quality);
        }
        if let Some(SavedFilter(quality, by_id)) = self.answers {
            add(&EventFilter::Answers(name_of(by_id)), quality);
        }
        for (conversation, quality) in &self.conversations {
            if let Ok(conversation) = ConversationId::parse(conversation) {
                add(&EventFilter::Conversation(conversation), *quality);
            }
        }
    }
}

impl From<OwnSubscription> for SavedFilter {
    fn from(subscription: OwnSubscription) -> SavedFilter {
        SavedFilter(subscription.quality as u8, subscription.name == OwnName::UserId)
    }
}

fn name_of(by_id: bool) -> OwnName {
    if by_id { OwnName::UserId } else { OwnName::Me }
}

fn quality_of(quality: u8) -> QualityOfService {
    QualityOfService::from_bits(quality).unwrap_or(QualityOfService::AtLeastOnce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::ConnectionHandle;

    #[test]
    fn subscriptions_survive_the_way_to_another_node() {
        let mut filters = FilterTable::new(10);
        let conversation = ConversationId::parse("g_1").unwrap();
        filters.add(
            &EventFilter::Conversation(conversation.clone()),
            QualityOfService::AtMostOnce,
        );
        filters.confirm(&EventFilter::Conversation(conversation));
        let inbox = EventFilter::Inbox(OwnName::UserId);
        filters.add(&inbox, QualityOfService::AtLeastOnce);
        assert_eq!(SavedState::of(&filters, 7, false).inbox, None, "not confirmed");
        filters.confirm(&inbox);
        let state = SavedState::of(&filters, 7, false);
        let restored = SavedState::decode(&state.encode());
        assert_eq!(
            (&restored, restored.sent(), restored.is_over()),
            (&state, 7, false)
        );
        let mut again = FilterTable::new(10);
        restored.restore(&mut again);
        assert_eq!(SavedState::of(&again, 7, false), state);
    }

    #[test]
    fn largest_table_fits_into_the_state_of_a_session() {
        let mut filters = FilterTable::new(usize::MAX);
        for n in 0..3_000 {
            let conversation = ConversationId::parse(&format!("g_01ARZ3NDEKTSV4RRFFQ6{n:06}")).unwrap();
            filters.add(
                &EventFilter::Conversation(conversation.clone()),
                QualityOfService::AtLeastOnce,
            );
            filters.confirm(&EventFilter::Conversation(conversation));
        }
        let bytes = SavedState::of(&filters, u64::MAX, false).encode().len();
        assert!(bytes <= ConnectionHandle::GATEWAY_STATE_BYTES, "{bytes}");
        let mut filters = FilterTable::new(usize::MAX);
        for n in 0..3_000 {
            let conversation = ConversationId::parse(&format!("{n}")).unwrap();
            filters.add(
                &EventFilter::Conversation(conversation.clone()),
                QualityOfService::AtLeastOnce,
            );
            filters.confirm(&EventFilter::Conversation(conversation));
        }
        let bytes = SavedState::of(&filters, u64::MAX, false).encode().len();
        assert!(bytes <= ConnectionHandle::GATEWAY_STATE_BYTES, "{bytes}");
    }

    #[test]
    fn unreadable_state_is_that_of_an_ended_session() {
        assert!(SavedState::decode(b"nonsense").is_over());
    }
}
