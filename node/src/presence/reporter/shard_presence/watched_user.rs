//! User watched by local sessions, with the presence that the owner has reported.

use std::collections::HashMap;

use protocol::UserId;
use smallvec::SmallVec;

use crate::presence::reporter::ReporterEvent;
use crate::presence::reporter::presence_batch::PresenceWorkers;
use crate::registration::WorkerId;
use crate::rpc::presence::{PresenceView, VersionedPresence, visible_to};

/// User watched by local sessions.
#[derive(Debug, Default)]
pub(super) struct WatchedUser {
    /// State reported by the owner, with its epoch; `None` before the first.
    pub(super) known: Option<(u64, VersionedPresence)>,
    pub(super) viewers: HashMap<UserId, Viewer>,
}

/// Viewer with watching sessions on this node.
#[derive(Debug, Default)]
pub(super) struct Viewer {
    pub(super) workers: SmallVec<[WorkerId; 1]>,
    /// Start of the watched user's block of this viewer, `Some(None)` without a block; `None` until the owner has
    /// reported it.
    pub(super) blocked: Option<Option<u64>>,
}

// === impl WatchedUser ===

impl WatchedUser {
    /// Stores a newer state. Returns true if the user's presence changed by it.
    pub(super) fn learn(&mut self, epoch: u64, state: VersionedPresence) -> bool {
        // Versions restart with each owner, so the epoch is compared first.
        let later = self
            .known
            .is_none_or(|(known, before)| (epoch, state.version) > (known, before.version));
        let before = self.known;
        if later {
            self.known = Some((epoch, state));
        }
        later && before.is_none_or(|(_, before)| before.online != state.online)
    }

    /// Sends the known presence to a worker whose viewer watches the user already.
    pub(super) fn send_to(
        &self,
        worker: WorkerId,
        user: &UserId,
        viewer: &UserId,
        workers: &mut PresenceWorkers,
    ) {
        let blocked = self.viewers.get(viewer).and_then(|known| known.blocked);
        if let (Some((_, state)), Some(blocked)) = (self.known, blocked) {
            send_state(workers, worker, user, viewer, PresenceView { state, blocked });
        }
    }

    /// Sends the presence to one viewer (`only`), or to all whose block status is known.
    pub(super) fn send(&self, user: &UserId, only: Option<&UserId>, workers: &mut PresenceWorkers) {
        let Some((_, state)) = self.known else { return };
        let viewers = self
            .viewers
            .iter()
            .filter(|(viewer, _)| only.is_none_or(|only| only == *viewer));
        for (viewer, known) in viewers {
            // Without the block status a blocked viewer might see the user online.
            let Some(blocked) = known.blocked else { continue };
            for worker in &known.workers {
                send_state(workers, *worker, user, viewer, PresenceView { state, blocked });
            }
        }
    }

    /// Sends the new version of the user's profile to the viewers whom the user does not block. A change shows that the
    /// user is there, which a blocked viewer must not learn.
    pub(super) fn send_profile(&self, user: &UserId, ver: u64, workers: &mut PresenceWorkers) {
        let viewers = self
            .viewers
            .iter()
            .filter(|(_, known)| known.blocked == Some(None));
        for (viewer, known) in viewers {
            for worker in &known.workers {
                let event = ReporterEvent::Profile {
                    user: user.clone(),
                    viewer: viewer.clone(),
                    ver,
                };
                workers.send(*worker, event);
            }
        }
    }
}

fn send_state(
    workers: &mut PresenceWorkers,
    worker: WorkerId,
    user: &UserId,
    viewer: &UserId,
    view: PresenceView,
) {
    let event = ReporterEvent::Stands {
        user: user.clone(),
        viewer: viewer.clone(),
        visible: visible_to(view),
    };
    workers.send(worker, event);
}
