//! Topics that clients publish to, each of which is a command. Pure.
//!
//! Everything that is not listed here is refused.

use protocol::{ConversationId, UserId};

/// Topic of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublishTopic {
    pub(super) target: CommandTarget,
    /// Tag of the native command.
    pub(super) tag: &'static str,
    pub(super) answer: AnswerPolicy,
}

/// Object of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CommandTarget {
    Conversation(ConversationId),
    /// The direct conversation with this user.
    Direct(UserId),
    /// The client's own user.
    Own,
}

/// Answer that a command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerPolicy {
    /// A refusal, and with a quality above the lowest the acknowledgement.
    Acknowledged,
    /// The client asked for the answer.
    Answered,
    /// The command has no answer.
    Silent,
}

/// Commands about a conversation that change something. Except for the cursors they need a `cid`.
const CHANGES: [&str; 14] = [
    "send", "edit", "del", "react", "invite", "kick", "ban", "unban", "role", "join", "leave", "set", "read",
    "recv",
];
const CONVERSATION_QUERIES: [&str; 3] = ["open", "hist", "members"];
const OWN_QUERIES: [&str; 9] = [
    "create", "list", "sync", "watch", "unwatch", "block", "unblock", "users", "me",
];
/// Tags of commands that a will may be.
const WILLS: [&str; 2] = ["send", "typing"];

// === impl PublishTopic ===

impl PublishTopic {
    /// Returns the command of a topic. `None`: there is no such topic.
    pub(super) fn parse(topic: &str) -> Option<PublishTopic> {
        if let Some(tag) = topic.strip_prefix("me/") {
            let tag = known(&OWN_QUERIES, tag)?;
            return Some(PublishTopic {
                target: CommandTarget::Own,
                tag,
                answer: AnswerPolicy::Answered,
            });
        }
        if let Some(rest) = topic.strip_prefix("u/") {
            let user = rest.strip_suffix("/send")?;
            return Some(PublishTopic {
                target: CommandTarget::Direct(UserId::parse(user).ok()?),
                tag: "send",
                answer: AnswerPolicy::Acknowledged,
            });
        }
        let (conversation, tag) = topic.strip_prefix("c/")?.split_once('/')?;
        let (tag, answer) = if tag == "typing" {
            ("typing", AnswerPolicy::Silent)
        } else if let Some(tag) = known(&CHANGES, tag) {
            (tag, AnswerPolicy::Acknowledged)
        } else {
            (known(&CONVERSATION_QUERIES, tag)?, AnswerPolicy::Answered)
        };
        Some(PublishTopic {
            target: CommandTarget::Conversation(ConversationId::parse(conversation).ok()?),
            tag,
            answer,
        })
    }

    /// Returns true if a will may be published here.
    pub(super) fn permits_will(&self) -> bool {
        WILLS.contains(&self.tag)
    }
}

fn known(tags: &[&'static str], tag: &str) -> Option<&'static str> {
    tags.iter().copied().find(|known| *known == tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn listed_topics_are_commands() {
        for (topic, tag, answer) in [
            ("c/g_1/send", "send", AnswerPolicy::Acknowledged),
            ("c/g_1/read", "read", AnswerPolicy::Acknowledged),
            ("c/g_1/typing", "typing", AnswerPolicy::Silent),
            ("c/g_1/hist", "hist", AnswerPolicy::Answered),
        ] {
            let parsed = PublishTopic::parse(topic).unwrap();
            assert_eq!((parsed.tag, parsed.answer), (tag, answer));
            assert!(matches!(&parsed.target, CommandTarget::Conversation(c) if c.as_str() == "g_1"));
        }
        let direct = PublishTopic::parse("u/bob@example.org/send").unwrap();
        assert!(matches!(&direct.target, CommandTarget::Direct(user) if user.as_str() == "bob@example.org"));
        assert_eq!(PublishTopic::parse("me/list").unwrap().target, CommandTarget::Own);
    }

    #[test]
    fn every_other_topic_is_refused() {
        for topic in [
            "",
            "c",
            "c/",
            "c//send",
            "c/g_1",
            "c/g_1/",
            "c/g_1/send/",
            "c/g_1/SEND",
            "/c/g_1/send",
            "c/g 1/send",
            "c/g_1/events",
            "c/g_1/list",
            "u/bob/typing",
            "u//send",
            "u/a/b/send",
            "u/me/answers",
            "me/send",
            "me",
            "me/auth",
            "me/hb",
            "$SYS/broker",
            "will",
        ] {
            assert_eq!(PublishTopic::parse(topic), None, "{topic}");
        }
    }

    #[test]
    fn will_is_a_message_or_a_typing_event() {
        for (topic, permitted) in [
            ("c/g_1/send", true),
            ("u/bob/send", true),
            ("c/g_1/typing", true),
            ("c/g_1/kick", false),
            ("me/block", false),
        ] {
            assert_eq!(
                PublishTopic::parse(topic).unwrap().permits_will(),
                permitted,
                "{topic}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_topic_makes_it_panic(topic in "(c|u|me)/?\\PC{0,40}") {
            if let Some(parsed) = PublishTopic::parse(&topic) {
                prop_assert!(topic.ends_with(parsed.tag));
            }
        }
    }
}
