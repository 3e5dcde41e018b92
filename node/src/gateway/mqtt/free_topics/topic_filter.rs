//! Topic filters with wildcards and shares (sections 4.7 and 4.8). Pure.

use crate::gateway::mqtt::event_filter::is_well_formed;

/// Filter of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicFilter {
    /// Name of the share; `None`: the subscription is not shared.
    share: Option<String>,
    /// Levels with their separators.
    levels: String,
}

/// Largest number of separators in a topic or filter.
const SEPARATORS: usize = 200;

// === impl TopicFilter ===

impl TopicFilter {
    /// Returns `None` for a malformed filter.
    pub(super) fn parse(text: &str) -> Option<TopicFilter> {
        let (share, levels) = match text.strip_prefix("$share/") {
            Some(shared) => {
                let (share, levels) = shared.split_once('/')?;
                if share.is_empty() || share.contains(['+', '#']) {
                    return None;
                }
                (Some(share.to_owned()), levels)
            }
            None => (None, text),
        };
        let is_valid = !levels.is_empty() && is_shallow(levels) && is_well_formed(levels);
        is_valid.then(|| TopicFilter {
            share,
            levels: levels.to_owned(),
        })
    }

    pub(super) fn is_shared(&self) -> bool {
        self.share.is_some()
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        // A wildcard does not cover the server's own topics.
        if topic.starts_with('$') && self.levels.starts_with(['+', '#']) {
            return false;
        }
        let (mut levels, mut names) = (self.levels.split('/'), topic.split('/'));
        loop {
            match (levels.next(), names.next()) {
                // Covers the level above, too.
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(level), Some(name)) if level == name => {}
                _ => return false,
            }
        }
    }
}

/// Returns true if a topic or filter has no more levels than the server accepts.
pub(super) fn is_shallow(topic: &str) -> bool {
    topic.bytes().filter(|byte| *byte == b'/').count() <= SEPARATORS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::parse(filter).unwrap().matches(topic)
    }

    #[test]
    fn wildcards_cover_levels() {
        for (filter, topic) in [
            ("#", "a"),
            ("#", "/a"),
            ("a/#", "a"),
            ("a/#", "a/"),
            ("a/#", "a/b//c"),
            ("+/+", "/a"),
            ("/+", "/a"),
            ("a/+/c", "a//c"),
            ("a/+/c/#", "a/b/c"),
            ("a/", "a/"),
            ("$SYS/#", "$SYS/a"),
            ("$share/s/a/+", "a/b"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a", "a/"),
            ("a/+", "a"),
            ("+", "/a"),
            ("+", "a/b"),
            ("a/#", "ab"),
            ("#", "$SYS/a"),
            ("+/a", "$SYS/a"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn malformed_filters_are_refused() {
        for filter in [
            "",
            "a#",
            "#/a",
            "a/b+",
            "$share/",
            "$share/s",
            "$share/s/",
            "$share//a",
            "$share/+/a",
        ] {
            assert_eq!(TopicFilter::parse(filter), None, "{filter}");
        }
        assert!(TopicFilter::parse(&"/".repeat(200)).is_some());
        assert!(TopicFilter::parse(&"/".repeat(201)).is_none());
    }
}
