//! Checks of retention by age and number: nothing younger than the settings permit is removed, and clients are notified
//! of what they lack.

use super::log::{OracleLog, Reading};
use super::violation::ViolationKind;
use super::{ConvIx, Oracle};
use crate::clock::{MILLISECOND, Nanos, SECOND};
use crate::payload::ClientIx;

/// Settings `[retention]` of the nodes, as far as they are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct RetentionSettings {
    /// Rules of direct conversations, groups and channels.
    rules: [RetentionRule; 3],
    /// `true` for nodes that another program started: any removal is permitted.
    unknown: bool,
}

/// Maximum age and number of messages; 0 is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct RetentionRule {
    max_age: Nanos,
    max_messages: u64,
    unknown: bool,
}

/// Tolerance. A node's clock may differ by up to this before the node loses its shards (`cluster`), and its view of the
/// log is a moment old.
const SLACK: Nanos = 12 * SECOND;
/// Maximum number of pending ranges per conversation. The oldest is evicted unjudged.
const GONE: usize = 64;
const KINDS: [&str; 3] = ["direct", "group", "channel"];

/// Report that everything up to `to` was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gone {
    client: ClientIx,
    to: u64,
    at: Nanos,
}

// === impl RetentionSettings ===

impl RetentionSettings {
    /// Parses the settings of the nodes, as `key=value`. Ignores all others.
    pub(crate) fn of_settings(settings: &[String]) -> RetentionSettings {
        let mut retention = RetentionSettings::default();
        for (key, value) in settings.iter().filter_map(|setting| setting.split_once('=')) {
            let Some((kind, what)) = key.strip_prefix("retention.").and_then(|key| key.split_once('_'))
            else {
                continue;
            };
            let Some(kind) = KINDS.iter().position(|known| *known == kind) else {
                continue;
            };
            let rule = &mut retention.rules[kind];
            // A value that the nodes refuse needs no rule: they do not start.
            match what {
                "max_age" => {
                    rule.max_age = humantime::parse_duration(value).map_or(0, |age| age.as_nanos() as Nanos)
                }
                "max_messages" => rule.max_messages = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        retention
    }

    /// Returns the retention of nodes with unknown settings.
    pub(crate) fn unknown() -> RetentionSettings {
        RetentionSettings {
            unknown: true,
            ..RetentionSettings::default()
        }
    }

    /// Returns `true` if any event may be removed.
    pub(super) fn is_on(&self) -> bool {
        self.unknown || self.rules.iter().any(|rule| rule.is_on())
    }

    /// Returns the rule of a conversation, whose kind is the prefix of its name.
    pub(super) fn rule(&self, conversation: &str) -> RetentionRule {
        let kind = match conversation.split('_').next() {
            Some("d") => 0,
            Some("ch") => 2,
            _ => 1,
        };
        RetentionRule {
            unknown: self.unknown,
            ..self.rules[kind]
        }
    }
}

// === impl RetentionRule ===

impl RetentionRule {
    pub(super) fn is_on(&self) -> bool {
        self.unknown || self.max_age > 0 || self.max_messages > 0
    }

    /// Checks that everything up to `s` may have been removed at `now`. The error is the reason against it.
    pub(super) fn permits(&self, log: &OracleLog, s: u64, now: Nanos) -> Result<(), String> {
        if self.unknown {
            return Ok(());
        }
        if !self.is_on() {
            return Err("retention is off".to_owned());
        }
        // Due time of the last known message up to `s`. Without one its age is unknown, which permits the removal.
        let sent = log.sent_up_to(s);
        let old =
            self.max_age > 0 && sent.is_none_or(|sent| now.saturating_sub(sent) + SLACK >= self.max_age);
        // `known_at` may lie above the end at that time. This permits more, and never reports a correct removal.
        let after = log.messages_between(s, log.known_at(now).0);
        let many = self.max_messages > 0 && after.is_none_or(|after| after >= self.max_messages);
        if old || many {
            return Ok(());
        }
        Err(format!(
            "the last message up to there was sent {} ms ago, and {after:?} messages follow it; the limits are {} ms and {} messages",
            now.saturating_sub(sent.unwrap_or(now)) / MILLISECOND,
            self.max_age / MILLISECOND,
            self.max_messages
        ))
    }

    /// Returns the number of messages above `from` up to `to` that must still exist; `None` if it is not known.
    pub(super) fn surely(&self, log: &OracleLog, from: u64, to: u64, now: Nanos) -> Option<u64> {
        let all = log.messages_between(from, to)?;
        if !self.is_on() {
            return Some(all);
        }
        if self.unknown {
            return Some(0);
        }
        let young = match self.max_age {
            0 => all,
            // A message sent after this time must still exist.
            age => log.sent_after(from, to, (now + SLACK).saturating_sub(age)),
        };
        let newest = match self.max_messages {
            0 => all,
            // Messages above `to` use up part of the limit.
            most => most.saturating_sub(log.messages_above(to).unwrap_or(0)).min(all),
        };
        Some(young.min(newest))
    }
}

// === impl Oracle: retention ===

impl Oracle {
    /// Sets the retention of the nodes. Must precede the first conversation.
    pub(crate) fn retain(&mut self, retention: RetentionSettings) {
        self.retention = retention;
    }

    /// Advances the time of the run to `now`.
    pub(crate) fn tick(&mut self, now: Nanos) {
        self.now = self.now.max(now);
    }

    /// Records that a client was notified of a gap: everything that it lacks up to `to` was removed.
    pub(crate) fn passed_over(&mut self, conv: ConvIx, client: ClientIx, to: u64, now: Nanos) {
        self.tick(now);
        let conversation = &mut self.conversations[conv as usize];
        if let Some(view) = conversation.views.get_mut(&client) {
            view.last = view.last.max(to);
        }
        // The frontier moves too, or everything above the gap would never be judged.
        let verdict = conversation.log.pass_over(to);
        if conversation.gone.len() == GONE {
            conversation.gone.remove(0);
        }
        conversation.gone.push(Gone { client, to, at: now });
        self.judge(verdict, conv, Some(client), to);
        self.judge_gone(conv, false);
    }

    /// Judges the reported gaps for which the log is known up to the time of the report. With `end`, judges all.
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
                // A limit by number depends on later messages, which other clients may still have to observe.
                Err(why) if end || rule.max_messages == 0 || log.known_at(gone.at).1 => {
                    wrong.push((*gone, why));
                    false
                }
                Err(_) => true,
            });
        for (gone, why) in wrong {
            let (client, to) = (gone.client, gone.to);
            let detail =
                format!("client {client} was informed that everything up to s={to} is deleted: {why}");
            self.violate(ViolationKind::GoneTooSoon, Some(conv), Some(client), to, detail);
        }
    }

    /// Returns `true` if the event at `s` may have been removed by now. With a limit by number it always may: messages
    /// that decide it may be unknown yet.
    pub(super) fn may_be_gone(&self, conv: ConvIx, s: u64) -> bool {
        let conversation = &self.conversations[conv as usize];
        let rule = self.retention.rule(&conversation.name);
        rule.max_messages > 0 || rule.permits(&conversation.log, s, self.now).is_ok()
    }

    /// Checks a gap in a second reading: everything below `first` was removed.
    pub(crate) fn reread_above(&mut self, conv: ConvIx, reading: &mut Reading, first: u64, now: Nanos) {
        self.tick(now);
        let conversation = &self.conversations[conv as usize];
        let rule = self.retention.rule(&conversation.name);
        let verdict = rule.permits(&conversation.log, first - 1, now);
        conversation.log.pass_over_reading(reading, first);
        if let Err(why) = verdict {
            let detail = format!("a history query reports that everything below s={first} is deleted: {why}");
            self.violate(ViolationKind::GoneTooSoon, Some(conv), None, first - 1, detail);
        }
    }

    /// Reports a page that begins above the requested position without `gap`.
    pub(crate) fn gap_unsaid(&mut self, conv: ConvIx, client: ClientIx, after: u64, first: u64) {
        let detail = format!("a page after s={after} starts with s={first}, without gap:true");
        self.violate(ViolationKind::Hole, Some(conv), Some(client), first, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_the_nodes_are_read() {
        let settings = [
            "retention.group_max_age=30s",
            "retention.channel_max_messages=7",
            "x.y=1",
        ];
        let retention = RetentionSettings::of_settings(&settings.map(str::to_owned));
        assert!(
            retention.is_on()
                && !RetentionSettings::default().is_on()
                && RetentionSettings::unknown().is_on()
        );
        assert_eq!(retention.rule("g_1").max_age, 30 * SECOND);
        assert_eq!(retention.rule("ch_1").max_messages, 7);
        assert_eq!(retention.rule("d_1"), RetentionRule::default());
    }
}
