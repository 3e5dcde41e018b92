//! Registration of sessions and watches: requests to the owner of the shard, and the effects of its responses.

use std::time::Instant;

use bytes::Bytes;
use protocol::UserId;

use super::ShardPresence;
use crate::presence::reporter::ReporterEvent;
use crate::presence::reporter::presence_batch::{PresenceBatch, PresenceWorkers};
use crate::registration::{RegistrationContent, RegistrationHead, WorkerId, next_page};
use crate::rpc;
use crate::rpc::presence::{
    PresenceRegistered, PresenceView, PresenceWatch, RegisterPresence, SessionAdmission,
};
use crate::shard_client::{OwnerCallError, owner_client};

// === impl RegistrationContent for ShardPresence ===

impl RegistrationContent for ShardPresence {
    type Request = RegisterPresence;
    type InFlight = RegisterPresence;
    type Response = PresenceRegistered;
    type Batch = PresenceBatch;

    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.watched.is_empty()
    }

    /// A new session is sent at once: its client gets `ready` only after the owner's verdict, because two instances of
    /// a device must not both be admitted. It joins all others since the previous request, so a crowd still costs one
    /// request per response.
    fn is_urgent(&self) -> bool {
        self.waits
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        let idle = self.new_sessions.is_empty()
            && self.gone.is_empty()
            && self.new_watches.is_empty()
            && self.unwatched.is_empty();
        (!idle).then(|| self.gathers.filter(|_| !self.waits).unwrap_or(now))
    }

    fn on_stale(&mut self, _in_flight: Option<RegisterPresence>, _now: Instant) {
        // Removals are implied: the owner discards the former registration as a whole.
        self.gone.clear();
        self.unwatched.clear();
        // The number of nodes is unknown until reported again; meanwhile this node applies the user's whole rate.
        let users = self
            .sessions
            .values()
            .map(|(_, session)| (session.user.clone(), 1));
        self.divided.extend(users);
        self.new_sessions = self.sessions.keys().copied().collect();
        self.waits = self.sessions.values().any(|(_, session)| session.asks);
        let pairs = self.watched.iter();
        let pairs = pairs.flat_map(|(user, watched)| {
            watched
                .viewers
                .keys()
                .map(|viewer| (user.clone(), viewer.clone()))
        });
        self.new_watches = pairs.collect();
    }

    /// The following request waits for the gathering time, unless a session needs its verdict.
    fn next_request(&mut self, head: RegistrationHead, now: Instant) -> (RegisterPresence, RegisterPresence) {
        self.gathers = Some(now + self.gather);
        let sessions = next_page(&mut self.new_sessions);
        self.waits &= !self.new_sessions.is_empty();
        // A session or watch may have ended since it was queued; sending it would register it for good.
        let sessions = sessions.iter().filter_map(|tag| self.sessions.get(tag));
        let sessions = sessions.map(|(_, session)| session.clone()).collect();
        let request = RegisterPresence {
            shard: head.shard,
            epoch: head.epoch,
            registration: head.registration,
            incarnation: self.incarnation,
            fresh: head.fresh,
            sessions,
            watched: self.next_watches(),
            gone: std::mem::take(&mut self.gone),
            unwatched: self.unwatched.drain().collect(),
        };
        // A copy is retained: a failed request has to be queued again entry by entry.
        (request.clone(), request)
    }

    fn on_failure(&mut self, request: RegisterPresence) {
        // The request may have held a session without a verdict, which must not wait for the gathering time.
        self.waits = true;
        let sessions = request.sessions.into_iter().map(|session| session.tag);
        self.new_sessions
            .extend(sessions.filter(|tag| self.sessions.contains_key(tag)));
        self.gone.extend(request.gone);
        let watches = request
            .watched
            .into_iter()
            .map(|watch| (watch.user, watch.viewer));
        self.new_watches.extend(watches);
        let unwatched = request.unwatched.into_iter();
        self.unwatched
            .extend(unwatched.filter(|user| !self.watched.contains_key(user)));
    }

    /// Passes on verdicts on sessions, and the presence of watched users.
    fn on_response(
        &mut self,
        request: RegisterPresence,
        response: PresenceRegistered,
        _now: Instant,
        workers: &mut PresenceWorkers,
    ) {
        for (session, admission) in request.sessions.into_iter().zip(response.sessions) {
            self.on_admission(session.tag, admission, workers);
        }
        for (watch, view) in request.watched.into_iter().zip(response.watched) {
            self.on_view(request.epoch, &watch, view, workers);
        }
    }

    fn remove_worker(&mut self, worker: WorkerId) {
        let sessions = self
            .sessions
            .values()
            .filter(|(known_worker, _)| *known_worker == worker);
        let sessions: Vec<(UserId, u64)> = sessions
            .map(|(_, session)| (session.user.clone(), session.tag))
            .collect();
        for (user, tag) in sessions {
            self.leave(user, tag);
        }
        let pairs = self.watched.iter().flat_map(|(user, watched)| {
            let viewers = watched
                .viewers
                .iter()
                .filter(|(_, known)| known.workers.contains(&worker));
            viewers.map(|(viewer, _)| (user.clone(), viewer.clone()))
        });
        let pairs: Vec<(UserId, UserId)> = pairs.collect();
        for (user, viewer) in pairs {
            self.unwatch(worker, &user, &viewer);
        }
    }

    fn encode(request: &RegisterPresence) -> (u16, Bytes) {
        (rpc::REGISTER_PRESENCE, rpc::encode(request))
    }

    fn decode(_method: u16, body: &[u8]) -> Result<PresenceRegistered, OwnerCallError> {
        owner_client::decode(body)
    }
}

// === impl ShardPresence ===

impl ShardPresence {
    fn next_watches(&mut self) -> Vec<PresenceWatch> {
        next_page(&mut self.new_watches)
            .into_iter()
            .filter_map(|(user, viewer)| {
                let known = self.watched.get(&user)?;
                known.viewers.contains_key(&viewer).then(|| PresenceWatch {
                    online: known.known.is_some_and(|(_, state)| state.online),
                    user,
                    viewer,
                })
            })
            .collect()
    }

    fn on_admission(&mut self, tag: u64, admission: SessionAdmission, workers: &mut PresenceWorkers) {
        let Some((worker, known)) = self.sessions.get_mut(&tag) else {
            return;
        };
        let event = match admission {
            SessionAdmission::Displaced(how) => ReporterEvent::Displaced { tag, how },
            admission => ReporterEvent::Admitted { tag, admission },
        };
        // A verdict on the connection that the session had concerns nobody any more.
        if known.waiting {
            return;
        }
        workers.send(*worker, event);
        // Later registrations of this session repeat an admitted one, which a new owner must not refuse.
        known.asks = false;
        if admission != SessionAdmission::Admitted {
            self.sessions.remove(&tag);
        }
    }

    fn on_view(
        &mut self,
        epoch: u64,
        watch: &PresenceWatch,
        PresenceView { state, blocked }: PresenceView,
        workers: &mut PresenceWorkers,
    ) {
        let Some(watched) = self.watched.get_mut(&watch.user) else {
            return;
        };
        let state_changed = watched.learn(epoch, state);
        if let Some(viewer) = watched.viewers.get_mut(&watch.viewer) {
            let first = viewer.blocked.is_none();
            let changed = viewer.blocked.replace(blocked) != Some(blocked);
            // A state change is sent to all viewers below; a second event to this one would repeat it.
            if (first || changed) && !state_changed {
                watched.send(&watch.user, Some(&watch.viewer), workers);
            }
        }
        if state_changed {
            watched.send(&watch.user, None, workers);
        }
    }
}
