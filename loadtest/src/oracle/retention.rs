//! What may be gone by age or number, as the nodes are configured: old events go, nothing younger than it may be goes, and
//! whoever lacks what is gone is told so.

use super::log::{Log, Reading};
use super::violation::Kind;
use super::{ConvIx, Oracle};
use crate::clock::{MILLISECOND, Nanos, SECOND};
use crate::payload::ClientIx;

/// The section `[retention]` of the nodes, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Retention {
    /// Of direct conversations, groups and channels.
    rules: [Rule; 3],
    /// The nodes are somebody else's: whatever is gone may be gone.
    unknown: bool,
}

/// How long and how many; 0 is for ever, or all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Rule {
    max_age: Nanos,
    max_messages: u64,
    unknown: bool,
}

/// A node's clock may be so far off before it owns nothing (`cluster`), and what it looks at is a moment old.
const SLACK: Nanos = 12 * SECOND;
/// What is remembered of each conversation until the log is known far enough to judge it.
const GONE: usize = 64;
const KINDS: [&str; 3] = ["direct", "group", "channel"];

/// Everything up to `to` was said to be gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gone {
    client: ClientIx,
    to: u64,
    at: Nanos,
}

// === impl Retention ===

impl Retention {
    /// Reads what was set on the nodes, as `key=value`.
    pub(crate) fn of_settings(settings: &[String]) -> Retention {
        let mut retention = Retention::default();
        for (key, value) in settings.iter().filter_map(|setting| setting.split_once('=')) {
            let Some((kind, what)) = key.strip_prefix("retention.").and_then(|key| key.split_once('_'))
            else {
                continue;
            };
            let (Some(kind), Ok(value)) = (
                KINDS.iter().position(|known| *known == kind),
                value.parse::<u64>(),
            ) else {
                continue;
            };
            match what {
                "max_age_ms" => retention.rules[kind].max_age = value * MILLISECOND,
                "max_messages" => retention.rules[kind].max_messages = value,
                _ => {}
            }
        }
        retention
    }

    /// That of nodes whose settings nobody knows.
    pub(crate) fn unknown() -> Retention {
        Retention {
            unknown: true,
            ..Retention::default()
        }
    }

    /// Whether anything may go.
    pub(super) fn is_on(&self) -> bool {
        self.unknown || self.rules.iter().any(|rule| rule.is_on())
    }

    /// What holds in a conversation of that name.
    pub(super) fn rule(&self, conversation: &str) -> Rule {
        let kind = match conversation.split('_').next() {
            Some("d") => 0,
            Some("ch") => 2,
            _ => 1,
        };
        Rule {
            unknown: self.unknown,
            ..self.rules[kind]
        }
    }
}

// === impl Rule ===

impl Rule {
    pub(super) fn is_on(&self) -> bool {
        self.unknown || self.max_age > 0 || self.max_messages > 0
    }

    /// Whether everything up to `s` may be gone at `now`; otherwise why not.
    pub(super) fn permits(&self, log: &Log, s: u64, now: Nanos) -> Result<(), String> {
        if self.unknown {
            return Ok(());
        }
        if !self.is_on() {
            return Err("nothing goes here by age or number".to_owned());
        }
        // The last message up to there that is known: what is not known is older than nothing.
        let sent = log.sent_up_to(s);
        let old =
            self.max_age > 0 && sent.is_none_or(|sent| now.saturating_sub(sent) + SLACK >= self.max_age);
        let after = log.messages_between(s, log.known_at(now).0);
        let many = self.max_messages > 0 && after.is_none_or(|after| after >= self.max_messages);
        if old || many {
            return Ok(());
        }
        Err(format!(
            "the last message up to there was sent {} ms ago, and {after:?} stand above it; kept are {} ms and {} messages",
            now.saturating_sub(sent.unwrap_or(now)) / MILLISECOND,
            self.max_age / MILLISECOND,
            self.max_messages
        ))
    }

    /// How many messages above `from` up to `to` have to be there still.
    pub(super) fn surely(&self, log: &Log, from: u64, to: u64, now: Nanos) -> Option<u64> {
        let all = log.messages_between(from, to)?;
        if !self.is_on() {
            return Some(all);
        }
        if self.unknown {
            return Some(0);
        }
        let young = match self.max_age {
            0 => all,
            // Sent after this the message is there.
            age => log.sent_after(from, to, (now + SLACK).saturating_sub(age)),
        };
        let newest = match self.max_messages {
            0 => all,
            most => most.saturating_sub(log.messages_above(to).unwrap_or(0)).min(all),
        };
        Some(young.min(newest))
    }
}

// === impl Oracle: retention ===

impl Oracle {
    /// Says what the nodes let go; before the first conversation.
    pub(crate) fn retain(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// It is `now` of the run.
    pub(crate) fn tick(&mut self, now: Nanos) {
        self.now = self.now.max(now);
    }

    /// A client is told that what it lacks, up to `to`, is gone.
    pub(crate) fn passed_over(&mut self, conv: ConvIx, client: ClientIx, to: u64, now: Nanos) {
        self.tick(now);
        let conversation = &mut self.conversations[conv as usize];
        if let Some(view) = conversation.views.get_mut(&client) {
            view.last = view.last.max(to);
        }
        let verdict = conversation.log.pass_over(to);
        if conversation.gone.len() == GONE {
            conversation.gone.remove(0);
        }
        conversation.gone.push(Gone { client, to, at: now });
        self.judge(verdict, conv, Some(client), to);
        self.judge_gone(conv, false);
    }

    /// Judges what was said to be gone, as far as the log is known up to the moment when it was said; at the end all.
    pub(super) fn judge_gone(&mut self, conv: ConvIx, end: bool) {
        let conversation = &mut self.conversations[conv as usize];
        if conversation.gone.is_empty() {
            return;
        }
        let rule = self.retention.rule(&conversation.name);
        let mut wrong = Vec::new();
        let log = &conversation.log;
        conversation
            .gone
            .retain(|gone| match rule.permits(log, gone.to, gone.at) {
                Ok(()) => false,
                Err(why) if end || rule.max_messages == 0 || log.known_at(gone.at).1 => {
                    wrong.push((*gone, why));
                    false
                }
                Err(_) => true,
            });
        for (gone, why) in wrong {
            let (client, to) = (gone.client, gone.to);
            let detail = format!("client {client} is told that everything up to s={to} is gone: {why}");
            self.violate(Kind::GoneTooSoon, Some(conv), Some(client), to, detail);
        }
    }

    /// Whether what is at `s` may be gone by now. By number nobody can tell before everybody has heard of the rest.
    pub(super) fn may_be_gone(&self, conv: ConvIx, s: u64) -> bool {
        let conversation = &self.conversations[conv as usize];
        let rule = self.retention.rule(&conversation.name);
        rule.max_messages > 0 || rule.permits(&conversation.log, s, self.now).is_ok()
    }

    /// A second reading of the log is told that what stands below `first` is gone.
    pub(crate) fn reread_above(&mut self, conv: ConvIx, reading: &mut Reading, first: u64, now: Nanos) {
        self.tick(now);
        let conversation = &self.conversations[conv as usize];
        let rule = self.retention.rule(&conversation.name);
        let verdict = rule.permits(&conversation.log, first - 1, now);
        conversation.log.pass_over_reading(reading, first);
        if let Err(why) = verdict {
            let detail = format!("a reading is told that everything below s={first} is gone: {why}");
            self.violate(Kind::GoneTooSoon, Some(conv), None, first - 1, detail);
        }
    }

    /// A page begins above what was asked for, and doesn't say so.
    pub(crate) fn gap_unsaid(&mut self, conv: ConvIx, client: ClientIx, after: u64, first: u64) {
        let detail = format!("a page behind s={after} begins with s={first}, without gap:true");
        self.violate(Kind::Hole, Some(conv), Some(client), first, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_the_nodes_are_read() {
        let settings = [
            "retention.group_max_age_ms=30000",
            "retention.channel_max_messages=7",
            "x.y=1",
        ];
        let retention = Retention::of_settings(&settings.map(str::to_owned));
        assert!(retention.is_on() && !Retention::default().is_on() && Retention::unknown().is_on());
        assert_eq!(retention.rule("g_1").max_age, 30 * SECOND);
        assert_eq!(retention.rule("ch_1").max_messages, 7);
        assert_eq!(retention.rule("d_1"), Rule::default());
    }
}
