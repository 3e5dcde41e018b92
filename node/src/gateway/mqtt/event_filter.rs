//! Filters that clients subscribe to. Pure.
//!
//! Everything that is not listed here is refused: a wildcard would cover conversations of others.

use protocol::{ConversationId, UserId};

use super::packet::ReasonCode;

/// Filter of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EventFilter {
    /// Every event of the session.
    Inbox(OwnName),
    /// Answers to published commands.
    Answers(OwnName),
    /// Events of one conversation.
    Conversation(ConversationId),
}

/// Name by which the client calls its own user in a filter. Messages come under the same name, because clients compare
/// topics with filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnName {
    Me,
    UserId,
}

// === impl EventFilter, OwnName ===

impl EventFilter {
    /// Returns the subscription of a filter of `user`.
    ///
    /// # Errors
    /// The reason code of the refusal.
    pub(super) fn parse(filter: &str, user: &UserId) -> Result<EventFilter, ReasonCode> {
        if filter.starts_with("$share/") {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if !is_well_formed(filter) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        if let Some(conversation) = filter.strip_prefix("c/") {
            let conversation = conversation.strip_suffix("/events");
            let conversation = conversation.and_then(|text| ConversationId::parse(text).ok());
            return conversation
                .map(EventFilter::Conversation)
                .ok_or(ReasonCode::NotAuthorized);
        }
        let own = filter.strip_prefix("u/").and_then(|rest| rest.rsplit_once('/'));
        let (name, kind) = own.ok_or(ReasonCode::NotAuthorized)?;
        let name = match name {
            "me" => OwnName::Me,
            name if name == user.as_str() => OwnName::UserId,
            _ => return Err(ReasonCode::NotAuthorized),
        };
        match kind {
            "events" => Ok(EventFilter::Inbox(name)),
            "answers" => Ok(EventFilter::Answers(name)),
            _ => Err(ReasonCode::NotAuthorized),
        }
    }
}

impl OwnName {
    /// Returns the name in a topic.
    pub(super) fn text(self, user: &UserId) -> &str {
        match self {
            OwnName::Me => "me",
            OwnName::UserId => user.as_str(),
        }
    }
}

/// Returns true if wildcards are levels of their own, and `#` the last one.
pub(super) fn is_well_formed(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_valid = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            level => !level.contains(['+', '#']),
        };
        if !is_valid {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(filter: &str) -> Result<EventFilter, ReasonCode> {
        EventFilter::parse(filter, &"alice".parse().unwrap())
    }

    #[test]
    fn own_events_and_conversations_are_filters() {
        assert_eq!(parse("u/me/events"), Ok(EventFilter::Inbox(OwnName::Me)));
        assert_eq!(parse("u/alice/events"), Ok(EventFilter::Inbox(OwnName::UserId)));
        assert_eq!(parse("u/me/answers"), Ok(EventFilter::Answers(OwnName::Me)));
        let conversation = ConversationId::parse("g_1").unwrap();
        assert_eq!(parse("c/g_1/events"), Ok(EventFilter::Conversation(conversation)));
        let user = "alice".parse().unwrap();
        assert_eq!(
            (OwnName::Me.text(&user), OwnName::UserId.text(&user)),
            ("me", "alice")
        );
    }

    #[test]
    fn every_other_filter_is_refused() {
        for (filter, reason) in [
            ("#", ReasonCode::NotAuthorized),
            ("+", ReasonCode::NotAuthorized),
            ("c/+/events", ReasonCode::NotAuthorized),
            ("c/#", ReasonCode::NotAuthorized),
            ("u/+/events", ReasonCode::NotAuthorized),
            ("u/bob/events", ReasonCode::NotAuthorized),
            ("u/me/#", ReasonCode::NotAuthorized),
            ("u/me/events/x", ReasonCode::NotAuthorized),
            ("u/me", ReasonCode::NotAuthorized),
            ("c/g_1/send", ReasonCode::NotAuthorized),
            ("c/g_1", ReasonCode::NotAuthorized),
            ("$SYS/#", ReasonCode::NotAuthorized),
            ("a#", ReasonCode::TopicFilterInvalid),
            ("#/a", ReasonCode::TopicFilterInvalid),
            ("u/a+/events", ReasonCode::TopicFilterInvalid),
            (
                "$share/g/u/me/events",
                ReasonCode::SharedSubscriptionsNotSupported,
            ),
        ] {
            assert_eq!(parse(filter), Err(reason), "{filter}");
        }
    }

    proptest! {
        /// Deny by default: no filter with a wildcard is ever a subscription.
        #[test]
        fn no_wildcard_is_granted(filter in "[cume/+#$a-z_0-9]{0,24}") {
            let parsed = parse(&filter);
            prop_assert!(parsed.is_err() || !filter.contains(['+', '#']));
        }
    }
}
