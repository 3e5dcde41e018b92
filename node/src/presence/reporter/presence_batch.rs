//! Events of the presence reporter for one worker. A slow worker loses nothing. Its batch stays bounded: one verdict per
//! session, and only the newest presence and the newest version of the profile per user and viewer.

use std::collections::HashMap;

use protocol::UserId;

use super::ReporterEvent;
use crate::registration::{WorkerBatch, WorkerQueues};
use crate::rpc::presence::VisiblePresence;

/// Queues to the local presence of all workers of this node.
pub(super) type PresenceWorkers = WorkerQueues<PresenceBatch>;

/// Events for one worker that are not in its queue yet.
#[derive(Debug, Default)]
pub(super) struct PresenceBatch {
    events: Vec<ReporterEvent>,
    newest: HashMap<(UserId, UserId), VisiblePresence>,
    profiles: HashMap<(UserId, UserId), u64>,
}

// === impl WorkerBatch for PresenceBatch ===

impl WorkerBatch for PresenceBatch {
    type Event = ReporterEvent;

    fn push(&mut self, event: ReporterEvent, _is_full: bool) -> u64 {
        match event {
            // An older state still queued is replaced: only the newest one matters.
            ReporterEvent::Stands {
                user,
                viewer,
                visible,
            } => {
                self.newest.insert((user, viewer), visible);
            }
            ReporterEvent::Profile { user, viewer, ver } => {
                self.profiles.insert((user, viewer), ver);
            }
            event => self.events.push(event),
        }
        1
    }

    fn drain(&mut self, _was_full: bool) -> Vec<ReporterEvent> {
        let mut events = std::mem::take(&mut self.events);
        let newest = self.newest.drain();
        events.extend(newest.map(|((user, viewer), visible)| ReporterEvent::Stands {
            user,
            viewer,
            visible,
        }));
        let profiles = self.profiles.drain();
        events.extend(profiles.map(|((user, viewer), ver)| ReporterEvent::Profile { user, viewer, ver }));
        events
    }
}
