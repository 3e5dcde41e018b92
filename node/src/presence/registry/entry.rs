//! Registry entry of one user: sessions, watching nodes, and admission of new sessions.

use std::time::{Duration, Instant};

use cluster::NodeId;
use smallvec::SmallVec;

use crate::presence::settings::Settings;
use crate::rpc::SessionId;
use crate::rpc::presence::{DisplacedSession, SessionAdmission, SessionInfo};

/// Maximum number of displacements among the instances of a device within the window, so that two copies of an app do
/// not displace each other for ever.
const DISPLACEMENTS: usize = 3;
/// Window in which displacements are counted.
const DISPLACEMENT_WINDOW: Duration = Duration::from_secs(10);

/// Soft state of a user.
#[derive(Debug, Default)]
pub(super) struct UserEntry {
    pub(super) sessions: SmallVec<[RegisteredSession; 1]>,
    /// Nodes with sessions that watch the user, each once.
    pub(super) watchers: SmallVec<[NodeId; 2]>,
    /// End of the grace period of a user without sessions; `None` outside of one.
    pub(super) until: Option<Instant>,
    /// End of the last session, in milliseconds since the epoch.
    pub(super) seen: Option<u64>,
    /// Time of the last proposal of `seen`; `None` before the first.
    pub(super) saved: Option<Instant>,
    pub(super) unsaved: bool,
    /// Registry version of the last change of presence.
    pub(super) version: u64,
    /// Recent displacements: device and time.
    fights: Vec<(String, Instant)>,
    /// Nodes among which the user's rates are divided, as reported to them last.
    pub(super) divided: SmallVec<[NodeId; 2]>,
}

/// Session of a user: a connected one, or one that waits for its device.
#[derive(Debug)]
pub(super) struct RegisteredSession {
    pub(super) node: NodeId,
    pub(super) tag: u64,
    pub(super) device: Option<(String, String)>,
    pub(super) since_ms: u64,
    pub(super) mark: u64,
    /// `None` without a device.
    pub(super) sid: Option<SessionId>,
    /// True while the session is detached.
    pub(super) waiting: bool,
}

// === impl UserEntry ===

impl UserEntry {
    pub(super) fn online(&self, now: Instant) -> bool {
        self.is_connected() || self.until.is_some_and(|until| now < until)
    }

    /// Returns true with a connected session.
    pub(super) fn is_connected(&self) -> bool {
        self.connected().next().is_some()
    }

    fn connected(&self) -> impl Iterator<Item = &RegisteredSession> {
        self.sessions.iter().filter(|session| !session.waiting)
    }

    /// Returns the session of the device that began last, connected or waiting.
    pub(super) fn last_of(&self, device: &str) -> Option<&RegisteredSession> {
        let of_device =
            |session: &&RegisteredSession| session.device.as_ref().is_some_and(|(known, _)| known == device);
        self.sessions
            .iter()
            .filter(of_device)
            .max_by_key(|session| session.since_ms)
    }

    /// Returns the nodes with connected sessions of the user, each once, in order.
    pub(super) fn nodes(&self) -> SmallVec<[NodeId; 2]> {
        let mut nodes: SmallVec<[NodeId; 2]> = self.connected().map(|session| session.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Returns true if the entry holds nothing that may not be forgotten.
    pub(super) fn is_idle(&self, now: Instant, save_every: Duration) -> bool {
        self.sessions.is_empty()
            && self.watchers.is_empty()
            && self.until.is_none()
            && !self.unsaved
            // The time of the last save is retained: a new entry would save again at once.
            && self.saved.is_none_or(|saved| saved + save_every <= now)
    }

    /// Decides about a new session without adding it.
    pub(super) fn admits(
        &mut self,
        new_session: &SessionInfo,
        settings: &Settings,
        now: Instant,
    ) -> SessionAdmission {
        let rivals = |how| {
            self.sessions
                .iter()
                .filter(move |session| session.rivals(new_session) == Some(how))
        };
        if !new_session.asks {
            // A repeated registration after a change of owner: the later session of the device was admitted by the
            // former owner.
            let later = self
                .sessions
                .iter()
                .filter(|session| session.since_ms > new_session.since_ms)
                .find_map(|session| session.rivals(new_session));
            return later.map_or(SessionAdmission::Admitted, SessionAdmission::Displaced);
        }
        let displaces = rivals(DisplacedSession::Displaced).count();
        let gives_way = displaces + rivals(DisplacedSession::Replaced).count();
        // Displaced sessions free their places, so a user at the limit can still replace a session.
        if self.connected().count() - gives_way >= settings.sessions_per_user {
            return SessionAdmission::TooMany;
        }
        // Instances without a name cannot be compared. A new one that does not resume the session of the connection
        // that it replaces may be another client, so it counts as a displacement.
        let unnamed = new_session
            .device
            .as_ref()
            .is_some_and(|(_, instance)| instance.is_empty());
        let strange =
            rivals(DisplacedSession::Replaced).any(|session| new_session.goes_on != Some(session.mark));
        if (displaces > 0 || (unnamed && strange))
            && let Some((device, _)) = &new_session.device
        {
            let window = DISPLACEMENT_WINDOW;
            self.fights
                .retain(|(_, at)| now.saturating_duration_since(*at) < window);
            let lately = self.fights.iter().filter(|(known, _)| known == device).count();
            if lately >= DISPLACEMENTS {
                return SessionAdmission::Conflict;
            }
            self.fights.push((device.clone(), now));
        }
        SessionAdmission::Admitted
    }

    /// Removes the sessions of the same device, and returns them with the kind of their displacement.
    pub(super) fn give_way(
        &mut self,
        new_session: &SessionInfo,
    ) -> Vec<(RegisteredSession, DisplacedSession)> {
        let mut gone = Vec::new();
        let mut at = 0;
        while let Some(session) = self.sessions.get(at) {
            match session.rivals(new_session) {
                Some(how) => gone.push((self.sessions.remove(at), how)),
                None => at += 1,
            }
        }
        gone
    }
}

// === impl RegisteredSession ===

impl RegisteredSession {
    pub(super) fn new(node: NodeId, session: &SessionInfo) -> RegisteredSession {
        RegisteredSession {
            node,
            tag: session.tag,
            device: session.device.clone(),
            since_ms: session.since_ms,
            mark: session.mark,
            sid: session.sid,
            waiting: session.waiting,
        }
    }

    pub(super) fn is(&self, node: NodeId, tag: u64) -> bool {
        self.node == node && self.tag == tag
    }

    /// Returns the way in which the new session displaces this one; `None` if the devices differ.
    ///
    /// A waiting session has no connection to give up. It stays, for a client that resumes it.
    fn rivals(&self, new_session: &SessionInfo) -> Option<DisplacedSession> {
        if self.waiting {
            return None;
        }
        let ((device, instance), (other, its)) = (self.device.as_ref()?, new_session.device.as_ref()?);
        (device == other).then_some(if instance == its {
            DisplacedSession::Replaced
        } else {
            DisplacedSession::Displaced
        })
    }
}
