//! Messages for names that are no setting: each has the nearest name that is one.

use super::section::SECTIONS;

/// Former names that resemble their successors too little to find them.
const FORMER: [(&str, &str); 12] = [
    ("hooks", "webhook"),
    ("server.http", "server.listen"),
    ("limits.outbox_bytes", "limits.outbound_queue_size"),
    ("limits.ring_bytes", "limits.replay_buffer_size"),
    ("session.away", "session.max_detached"),
    ("chat.send_budget_ms", "chat.command_timeout"),
    ("presence.hold_down_ms", "presence.offline_grace"),
    ("retention.every_ms", "retention.interval"),
    ("cluster.drain_ms", "server.drain_timeout"),
    ("cluster.isolated_ms", "cluster.quorum_loss_timeout"),
    ("cluster.trust_disks", "cluster.accept_older_disks"),
    ("storage.reserve_bytes", "storage.free_space_reserve"),
];

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

    #[test]
    fn every_successor_exists() {
        for (former, successor) in FORMER {
            let known = SECTIONS
                .iter()
                .any(|(section, keys)| match successor.split_once('.') {
                    Some((part, name)) => part == *section && keys.iter().any(|(key, _)| *key == name),
                    None => successor == *section,
                });
            assert!(known, "{former} has become {successor}, which is not there");
        }
    }
}
