//! A session that watches users: what it was shown, and the newest state of each that waits for room.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use protocol::UserId;
use protocol::event::{Event, Presence, PresenceState};

use crate::user::attendance::Shown;

/// Where a session's presence goes.
pub trait Screen {
    /// Shows an event, given as everything after its number. `false`: there is no room now.
    fn show(&self, tail: Bytes) -> bool;
}

/// A session that watches.
pub(super) struct Watcher {
    pub(super) viewer: UserId,
    screen: Rc<dyn Screen>,
    /// What it was shown last; `None` while it waits to be shown the user at all.
    pub(super) users: HashMap<UserId, Option<bool>>,
    /// What waits for room, in the order in which it came first.
    queue: VecDeque<UserId>,
    newest: HashMap<UserId, Shown>,
}

// === impl Watcher ===

impl Watcher {
    pub(super) fn new(viewer: UserId, screen: Rc<dyn Screen>) -> Watcher {
        Watcher {
            viewer,
            screen,
            users: HashMap::new(),
            queue: VecDeque::new(),
            newest: HashMap::new(),
        }
    }

    /// Watches the user no more. `false`: it didn't.
    pub(super) fn forget(&mut self, user: &UserId) -> bool {
        if self.newest.remove(user).is_some() {
            self.queue.retain(|waiting| waiting != user);
        }
        self.users.remove(user).is_some()
    }

    /// Users whose state waits for room.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes in how a user stands. Whether that is to be shown.
    pub(super) fn stands(&mut self, user: &UserId, shown: Shown) -> bool {
        match self.users.get(user) {
            None => return false,
            Some(last) if *last == Some(shown.online) && !self.newest.contains_key(user) => return false,
            Some(_) => {}
        }
        if self.newest.insert(user.clone(), shown).is_none() {
            self.queue.push_back(user.clone());
        }
        true
    }

    /// Shows what waits while there is room. How many events that were.
    pub(super) fn show_waiting(&mut self) -> u64 {
        let mut count = 0;
        while let Some(user) = self.queue.pop_front() {
            let (Some(shown), Some(last)) = (self.newest.get(&user).copied(), self.users.get_mut(&user))
            else {
                continue;
            };
            if *last != Some(shown.online) {
                if !self.screen.show(tail(&user, shown)) {
                    self.queue.push_front(user);
                    break;
                }
                *last = Some(shown.online);
                count += 1;
            }
            self.newest.remove(&user);
        }
        count
    }
}

/// The event's JSON behind its number.
fn tail(user: &UserId, shown: Shown) -> Bytes {
    Event::Presence(event(user, shown)).tail().into()
}

/// What a client is told.
pub(crate) fn event(user: &UserId, shown: Shown) -> Presence {
    Presence {
        u: user.clone(),
        state: if shown.online {
            PresenceState::Online
        } else {
            PresenceState::Offline
        },
        seen: shown.seen,
    }
}
