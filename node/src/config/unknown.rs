//! Messages for names that are no setting: each has the nearest name that is one.

use super::section::SECTIONS;

/// Former names that resemble their successors too little to find them.
const FORMER: [(&str, &str); 19] = [
    ("hooks", "webhook"),
    ("server.http", "server.listen"),
    ("limits.outbox_bytes", "limits.outbound_queue_size"),
    ("limits.ring_bytes", "limits.replay_buffer_size"),
    ("session.away", "session.max_detached"),
    ("chat.send_budget_ms", "chat.command_timeout"),
    ("presence.hold_down_ms", "presence.offline_grace"),
    ("retention.every_ms", "retention.interval"),
    ("cluster.drain_ms", "server.drain_timeout"),
    ("storage.reserve_bytes", "storage.free_space_reserve"),
    ("server.workers", "server.threads"),
    ("chat.threads", "server.threads"),
    ("cluster.threads", "server.threads"),
    ("auth.public_key_file", "auth.key_file"),
    ("auth.jwks_file", "auth.key_file"),
    ("session.ping_ms", "session.idle_timeout"),
    ("session.ping_interval", "session.idle_timeout"),
    ("cluster.bootstrap", "cluster.seeds"),
    ("cluster.join", "cluster.seeds"),
];

/// Former names without a successor, for which the nearest name would mislead, each with the end of its message.
const GONE: [(&str, &str); 7] = [
    ("login.code_ms", "it is always 5m"),
    ("login.code_ttl", "it is always 5m"),
    ("webhook.max_members", "it is always 256"),
    ("cluster.isolated_ms", "it is always 10s"),
    ("cluster.quorum_loss_timeout", "it is always 10s"),
    ("cluster.trust_disks", OLDER_DISKS),
    ("cluster.accept_older_disks", OLDER_DISKS),
];

const OLDER_DISKS: &str = "it is a flag of one start, `rookery node --accept-older-disks`";

/// Returns the message for an unknown section.
pub(super) fn section(name: &str) -> String {
    let sections = SECTIONS.iter().map(|(section, _)| (*section).to_owned());
    message("section", name, sections)
}

/// Returns the message for an unknown key, given as `section.key`.
pub(super) fn setting(name: &str) -> String {
    let keys = SECTIONS.iter().flat_map(|(section, keys)| {
        let full = move |(key, _): &(&str, _)| format!("{section}.{key}");
        keys.iter().map(full)
    });
    message("setting", name, keys)
}

fn message(what: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    if let Some((_, end)) = GONE.iter().find(|(gone, _)| *gone == name) {
        return format!("no such {what}; {end}");
    }
    let alike = |known: &String| strsim::jaro_winkler(name, known);
    let successor = FORMER.iter().find(|(former, _)| *former == name);
    let nearest = successor.map(|(_, successor)| (*successor).to_owned());
    match nearest.or_else(|| known.max_by(|one, other| alike(one).total_cmp(&alike(other)))) {
        Some(nearest) => format!("no such {what}; the nearest is {nearest}"),
        None => format!("no such {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exists(name: &str) -> bool {
        SECTIONS.iter().any(|(section, keys)| match name.split_once('.') {
            Some((part, name)) => part == *section && keys.iter().any(|(key, _)| *key == name),
            None => name == *section,
        })
    }

    #[test]
    fn every_successor_exists_and_no_former_name_does() {
        for (former, successor) in FORMER {
            assert!(
                exists(successor),
                "{former} has become {successor}, which is not there"
            );
            assert!(!exists(former), "{former} is a setting");
        }
        for (gone, _) in GONE {
            assert!(!exists(gone), "{gone} is a setting");
        }
    }
}
