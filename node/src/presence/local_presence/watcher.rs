//! Session with watches: the presence sent last per user, and the newest states and profiles that wait for room.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use protocol::UserId;
use protocol::event::{Event, PresenceEvent, PresenceState, ProfileEvent};

use crate::rpc::presence::VisiblePresence;

/// Destination of a session's presence events.
pub trait PresenceSink {
    /// Sends an event, given as its JSON after the session seq. Returns false if there is no room now.
    fn show(&self, tail: Bytes) -> bool;
}

/// Watches of one session.
pub(super) struct PresenceSubscriber {
    pub(super) viewer: UserId,
    screen: Rc<dyn PresenceSink>,
    /// Presence sent last per watched user; `None` before the first event.
    pub(super) users: HashMap<UserId, Option<bool>>,
    /// Users with a waiting state, in order of arrival.
    queue: VecDeque<UserId>,
    newest: HashMap<UserId, VisiblePresence>,
    /// Changed profiles that wait for room, with the newest version of each.
    profiles: BTreeMap<UserId, u64>,
}

// === impl PresenceSubscriber ===

impl PresenceSubscriber {
    pub(super) fn new(viewer: UserId, screen: Rc<dyn PresenceSink>) -> PresenceSubscriber {
        PresenceSubscriber {
            viewer,
            screen,
            users: HashMap::new(),
            queue: VecDeque::new(),
            newest: HashMap::new(),
            profiles: BTreeMap::new(),
        }
    }

    /// Removes the watch of a user. Returns false if there was none.
    pub(super) fn forget(&mut self, user: &UserId) -> bool {
        if self.newest.remove(user).is_some() {
            self.queue.retain(|waiting| waiting != user);
        }
        self.profiles.remove(user);
        self.users.remove(user).is_some()
    }

    /// Returns the number of waiting states and profiles.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.profiles.len()
    }

    /// Stores the new version of a user's profile. Returns true if an event has to be sent.
    pub(super) fn profile_changed(&mut self, user: &UserId, ver: u64) -> bool {
        let is_watched = self.users.contains_key(user);
        if is_watched {
            self.profiles.insert(user.clone(), ver);
        }
        is_watched
    }

    /// Stores the presence of a user. Returns true if an event may have to be sent.
    pub(super) fn stands(&mut self, user: &UserId, visible: VisiblePresence) -> bool {
        match self.users.get(user) {
            None => return false,
            // A repeated state is dropped, unless a different one is still waiting and has to be replaced.
            Some(last) if *last == Some(visible.online) && !self.newest.contains_key(user) => return false,
            Some(_) => {}
        }
        if self.newest.insert(user.clone(), visible).is_none() {
            self.queue.push_back(user.clone());
        }
        true
    }

    /// Sends waiting events while there is room. Returns their number.
    pub(super) fn show_waiting(&mut self) -> u64 {
        let mut count = 0;
        while let Some(user) = self.queue.pop_front() {
            let (Some(visible), Some(last)) = (self.newest.get(&user).copied(), self.users.get_mut(&user))
            else {
                continue;
            };
            // The state may have returned to the one sent last, which needs no event.
            if *last != Some(visible.online) {
                if !self.screen.show(tail(&user, visible)) {
                    self.queue.push_front(user);
                    break;
                }
                *last = Some(visible.online);
                count += 1;
            }
            self.newest.remove(&user);
        }
        while let Some((user, version)) = self.profiles.pop_first() {
            let event = Event::Profile(ProfileEvent {
                user: user.clone(),
                version,
            });
            if !self.screen.show(event.tail().into()) {
                self.profiles.insert(user, version);
                break;
            }
            count += 1;
        }
        count
    }
}

/// Returns the event's JSON after the session seq.
fn tail(user: &UserId, visible: VisiblePresence) -> Bytes {
    Event::Presence(event(user, visible)).tail().into()
}

/// Returns the presence event for a client.
pub(crate) fn event(user: &UserId, visible: VisiblePresence) -> PresenceEvent {
    PresenceEvent {
        user: user.clone(),
        state: if visible.online {
            PresenceState::Online
        } else {
            PresenceState::Offline
        },
        last_seen_ms: visible.seen,
    }
}
