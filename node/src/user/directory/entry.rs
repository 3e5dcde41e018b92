//! One user of the directory: where the sessions are, and which of them give way.

use std::time::{Duration, Instant};

use cluster::NodeId;
use smallvec::SmallVec;

use crate::rpc::presence::{Admission, Displaced, Seat};
use crate::user::settings::Settings;

/// What is known of a user.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) sessions: SmallVec<[Session; 1]>,
    /// Nodes with sessions that watch the user.
    pub(super) watchers: SmallVec<[NodeId; 2]>,
    /// Without sessions, the user counts as present until then.
    pub(super) until: Option<Instant>,
    /// When the last session ended, in milliseconds since the epoch.
    pub(super) seen: Option<u64>,
    /// When that was noted in the log.
    pub(super) saved: Option<Instant>,
    pub(super) unsaved: bool,
    /// Of the last change.
    pub(super) version: u64,
    /// When which device's instances displaced each other lately.
    fights: Vec<(String, Instant)>,
    /// The nodes among which the user's rates are divided, as they were told.
    pub(super) divided: SmallVec<[NodeId; 2]>,
}

/// A connected session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) node: NodeId,
    pub(super) tag: u64,
    pub(super) device: Option<(String, String)>,
    pub(super) since_ms: u64,
    pub(super) mark: u64,
}

// === impl Entry ===

impl Entry {
    pub(super) fn online(&self, now: Instant) -> bool {
        !self.sessions.is_empty() || self.until.is_some_and(|until| now < until)
    }

    /// The nodes where the user is connected, each once.
    pub(super) fn nodes(&self) -> SmallVec<[NodeId; 2]> {
        let mut nodes: SmallVec<[NodeId; 2]> = self.sessions.iter().map(|session| session.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Whether nothing has to be known of the user.
    pub(super) fn is_idle(&self, now: Instant, save_every: Duration) -> bool {
        self.sessions.is_empty()
            && self.watchers.is_empty()
            && self.until.is_none()
            && !self.unsaved
            && self.saved.is_none_or(|saved| saved + save_every <= now)
    }

    /// Whether the session is let in; it is not in yet.
    pub(super) fn admits(&mut self, seat: &Seat, settings: &Settings, now: Instant) -> Admission {
        let rivals = |how| {
            self.sessions
                .iter()
                .filter(move |session| session.rivals(seat) == Some(how))
        };
        if !seat.asks {
            // Told again to a new owner: the later one was meant to stay.
            let later = self
                .sessions
                .iter()
                .filter(|session| session.since_ms > seat.since_ms)
                .find_map(|session| session.rivals(seat));
            return later.map_or(Admission::Admitted, Admission::Displaced);
        }
        let displaces = rivals(Displaced::Displaced).count();
        let gives_way = displaces + rivals(Displaced::Replaced).count();
        if self.sessions.len() - gives_way >= settings.sessions_per_user {
            return Admission::TooMany;
        }
        // Two that name no instance cannot be told apart by it: who does not go on with the session of the connection that
        // it replaces may be another client, and displaces like one.
        let unnamed = seat
            .device
            .as_ref()
            .is_some_and(|(_, instance)| instance.is_empty());
        let strange = rivals(Displaced::Replaced).any(|session| seat.goes_on != Some(session.mark));
        if (displaces > 0 || (unnamed && strange))
            && let Some((device, _)) = &seat.device
        {
            let window = settings.displacement_window;
            self.fights
                .retain(|(_, at)| now.saturating_duration_since(*at) < window);
            let lately = self.fights.iter().filter(|(known, _)| known == device).count();
            if lately >= settings.displacements {
                return Admission::Conflict;
            }
            self.fights.push((device.clone(), now));
        }
        Admission::Admitted
    }

    /// Takes out the sessions that give way to this one.
    pub(super) fn give_way(&mut self, seat: &Seat) -> Vec<(Session, Displaced)> {
        let mut gone = Vec::new();
        let mut at = 0;
        while let Some(session) = self.sessions.get(at) {
            match session.rivals(seat) {
                Some(how) => gone.push((self.sessions.remove(at), how)),
                None => at += 1,
            }
        }
        gone
    }
}

// === impl Session ===

impl Session {
    pub(super) fn is(&self, node: NodeId, tag: u64) -> bool {
        self.node == node && self.tag == tag
    }

    /// How this session loses its place when the other comes, if it does.
    fn rivals(&self, seat: &Seat) -> Option<Displaced> {
        let ((device, instance), (other, its)) = (self.device.as_ref()?, seat.device.as_ref()?);
        (device == other).then_some(if instance == its {
            Displaced::Replaced
        } else {
            Displaced::Displaced
        })
    }
}
