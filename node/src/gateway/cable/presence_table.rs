//! Presence of the members of conversations, for clients that ask for it. Pure.
//!
//! A request lists the members and watches them by commands of the native protocol. The answer follows once the state of
//! every member is known, or after a while with those that are. From then on each change is passed on. After a loss of
//! events members and states are read again, and the differences are passed on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::UserId;
use protocol::response::MembersResponse;

use super::subscription_table::SubscriptionKey;

/// Maximum number of members whose presence is shown, the first ones in the order of their ids.
const LISTED_MEMBERS: usize = 256;
/// Members that are listed per page.
const PAGE: usize = 100;
/// Maximum number of conversations whose presence one connection follows.
const ROOMS: usize = 32;
/// Pings after which the answer is sent although the state of some members is unknown.
const PATIENCE_PINGS: u8 = 2;

/// Conversations whose presence one connection follows.
#[derive(Debug, Default)]
pub(super) struct PresenceTable {
    rooms: BTreeMap<SubscriptionKey, PresenceRoom>,
    /// States of the members of all rooms, as far as they are known.
    states: HashMap<UserId, MemberState>,
}

#[derive(Debug)]
struct PresenceRoom {
    members: BTreeSet<UserId>,
    phase: RoomPhase,
    /// Members that are being listed again, as far as they are known.
    listed_again: Option<BTreeSet<UserId>>,
    /// True if events were lost since the listing began.
    is_outdated: bool,
    /// True once the members were watched.
    is_watched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoomPhase {
    /// The members are being listed, then watched.
    Listing,
    /// The states are on their way; the answer is sent after this number of pings at the latest.
    Waiting(u8),
    /// Changes are passed on.
    Live,
}

/// State of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberState {
    pub(super) is_online: bool,
    /// Unix time in milliseconds; `None`: never.
    pub(super) seen_ms: Option<u64>,
}

/// Action that follows from a change, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PresenceEffect {
    /// Reads the next page of the members.
    ListMembers {
        cursor: Option<String>,
        limit: u64,
    },
    /// Watches the members of a room, which shows the state of each. Its result is reported.
    WatchRoom(Vec<UserId>),
    /// Watches a new member.
    Watch(UserId),
    Unwatch(Vec<UserId>),
    /// Sends the members that are online.
    Info,
    Error,
    Join(UserId, MemberState),
    Leave(UserId),
}

/// Reads the first page of the members.
const FIRST_PAGE: PresenceEffect = PresenceEffect::ListMembers {
    cursor: None,
    limit: PAGE as u64,
};

/// Effects, each with its subscription.
type Effects = Vec<(SubscriptionKey, PresenceEffect)>;

// === impl PresenceTable ===

impl PresenceTable {
    /// Returns true if the presence of this subscription's conversation is followed.
    pub(super) fn follows(&self, key: SubscriptionKey) -> bool {
        self.rooms.contains_key(&key)
    }

    /// Returns true if an answer waits for the states of members.
    pub(super) fn is_waiting(&self) -> bool {
        let mut rooms = self.rooms.values();
        rooms.any(|room| matches!(room.phase, RoomPhase::Waiting(_)))
    }

    /// Returns the members that are online.
    pub(super) fn online(&self, key: SubscriptionKey) -> Vec<(&UserId, MemberState)> {
        let members = self.rooms.get(&key).into_iter().flat_map(|room| &room.members);
        let states = members.filter_map(|member| Some((member, *self.states.get(member)?)));
        states.filter(|(_, state)| state.is_online).collect()
    }

    /// Handles a request of the client.
    pub(super) fn on_request(&mut self, key: SubscriptionKey) -> Option<PresenceEffect> {
        if let Some(room) = self.rooms.get(&key) {
            // The answer to the first request is on its way.
            return (room.phase == RoomPhase::Live).then_some(PresenceEffect::Info);
        }
        if self.rooms.len() >= ROOMS {
            return Some(PresenceEffect::Error);
        }
        let room = PresenceRoom {
            members: BTreeSet::new(),
            phase: RoomPhase::Listing,
            listed_again: None,
            is_outdated: false,
            is_watched: false,
        };
        self.rooms.insert(key, room);
        Some(FIRST_PAGE)
    }

    /// Handles the loss of an unknown number of events.
    pub(super) fn on_loss(&mut self) -> Effects {
        let mut effects = Vec::new();
        for (key, room) in &mut self.rooms {
            if room.phase == RoomPhase::Listing || room.listed_again.is_some() {
                // The answers on their way may be from before the loss.
                room.is_outdated = true;
                continue;
            }
            if room.phase != RoomPhase::Live {
                room.phase = RoomPhase::Listing;
            }
            effects.push((*key, room.list_again()));
        }
        effects
    }

    /// Handles a page of the members; `None`: it was refused.
    pub(super) fn on_members(
        &mut self,
        key: SubscriptionKey,
        page: Option<MembersResponse>,
    ) -> Vec<PresenceEffect> {
        let Some(room) = self.rooms.get_mut(&key) else {
            return Vec::new();
        };
        let Some(page) = page else {
            return self.refuse(key);
        };
        let listed = room.listed_again.as_mut().unwrap_or(&mut room.members);
        listed.extend(page.items.into_iter().map(|member| member.user));
        let room_left = LISTED_MEMBERS.saturating_sub(listed.len());
        match (page.next, room.listed_again.take()) {
            (Some(cursor), listed_again) if room_left > 0 => {
                room.listed_again = listed_again;
                let cursor = Some(cursor);
                let limit = room_left.min(PAGE) as u64;
                vec![PresenceEffect::ListMembers { cursor, limit }]
            }
            (_, None) => vec![room.watch()],
            (_, Some(listed)) => self.replace_members(key, &listed),
        }
    }

    /// Handles the result of watching the members of a room.
    pub(super) fn on_watched(&mut self, key: SubscriptionKey, accepted: bool) -> Vec<PresenceEffect> {
        let Some(room) = self.rooms.get_mut(&key) else {
            return Vec::new();
        };
        if !accepted {
            return self.refuse(key);
        }
        room.is_watched = true;
        if room.phase != RoomPhase::Listing {
            // The states that have changed are on their way.
            return Vec::new();
        }
        if std::mem::take(&mut room.is_outdated) {
            return vec![room.list_again()];
        }
        room.phase = RoomPhase::Waiting(PATIENCE_PINGS);
        self.complete(key).into_iter().collect()
    }

    /// Handles the state of a watched user.
    pub(super) fn on_presence(&mut self, user: &UserId, state: MemberState) -> Effects {
        let rooms = self.rooms.iter().filter(|(_, room)| room.members.contains(user));
        let rooms: Vec<(SubscriptionKey, RoomPhase)> = rooms.map(|(key, room)| (*key, room.phase)).collect();
        if rooms.is_empty() {
            return Vec::new();
        }
        let before = self.states.insert(user.clone(), state);
        let was_online = before.is_some_and(|before| before.is_online);
        let mut effects = Vec::new();
        for (key, phase) in rooms {
            let effect = match phase {
                RoomPhase::Listing => None,
                RoomPhase::Waiting(_) => self.complete(key),
                RoomPhase::Live if was_online == state.is_online => None,
                RoomPhase::Live if state.is_online => Some(PresenceEffect::Join(user.clone(), state)),
                RoomPhase::Live => Some(PresenceEffect::Leave(user.clone())),
            };
            effects.extend(effect.map(|effect| (key, effect)));
        }
        effects
    }

    /// Handles a change of the membership. `added`: false after a removal.
    pub(super) fn on_member(
        &mut self,
        key: SubscriptionKey,
        user: &UserId,
        added: bool,
    ) -> Vec<PresenceEffect> {
        let Some(room) = self.rooms.get_mut(&key) else {
            return Vec::new();
        };
        if let Some(listed) = &mut room.listed_again {
            if added {
                listed.insert(user.clone());
            } else {
                listed.remove(user);
            }
        }
        if added {
            let is_new = room.members.len() < LISTED_MEMBERS && !room.members.contains(user);
            let mut effects = Vec::new();
            if is_new {
                effects.extend(self.add(key, user));
                effects.push(PresenceEffect::Watch(user.clone()));
            }
            return effects;
        }
        let was_member = room.members.contains(user);
        let mut effects: Vec<PresenceEffect> = self.leave(key, user).into_iter().collect();
        if was_member {
            effects.extend(self.unwatch([user.clone()]));
        }
        effects
    }

    /// Handles a ping: an answer that waits for too long is sent without the missing states.
    pub(super) fn on_ping(&mut self) -> Effects {
        let mut effects = Vec::new();
        for (key, room) in &mut self.rooms {
            room.phase = match room.phase {
                RoomPhase::Waiting(0) => {
                    effects.push((*key, PresenceEffect::Info));
                    RoomPhase::Live
                }
                RoomPhase::Waiting(pings) => RoomPhase::Waiting(pings - 1),
                other => other,
            };
        }
        effects
    }

    /// Ends the presence of a subscription.
    pub(super) fn remove(&mut self, key: SubscriptionKey) -> Option<PresenceEffect> {
        let room = self.rooms.remove(&key)?;
        self.unwatch(room.members)
    }

    /// Replaces the members by those that were listed again.
    fn replace_members(&mut self, key: SubscriptionKey, listed: &BTreeSet<UserId>) -> Vec<PresenceEffect> {
        let Some(room) = self.rooms.get(&key) else {
            return Vec::new();
        };
        let gone: Vec<UserId> = room.members.difference(listed).cloned().collect();
        let added: Vec<UserId> = listed.difference(&room.members).cloned().collect();
        let mut effects = Vec::new();
        for user in &gone {
            effects.extend(self.leave(key, user));
        }
        effects.extend(self.unwatch(gone));
        for user in &added {
            effects.extend(self.add(key, user));
        }
        effects.extend(self.rooms.get_mut(&key).map(|room| {
            if std::mem::take(&mut room.is_outdated) {
                room.list_again()
            } else {
                room.watch()
            }
        }));
        effects
    }

    /// Adds a member to a room, whose state may be known from another room.
    fn add(&mut self, key: SubscriptionKey, user: &UserId) -> Option<PresenceEffect> {
        let room = self.rooms.get_mut(&key)?;
        room.members.insert(user.clone());
        let state = self.states.get(user).copied();
        let online = state.filter(|state| room.phase == RoomPhase::Live && state.is_online);
        online.map(|state| PresenceEffect::Join(user.clone(), state))
    }

    /// Removes a member from a room.
    fn leave(&mut self, key: SubscriptionKey, user: &UserId) -> Option<PresenceEffect> {
        let room = self.rooms.get_mut(&key)?;
        let was_member = room.members.remove(user);
        let is_visible = was_member && room.phase == RoomPhase::Live;
        let state = self
            .states
            .get(user)
            .filter(|state| is_visible && state.is_online);
        state.map(|_| PresenceEffect::Leave(user.clone()))
    }

    /// Ends the presence of a subscription whose members cannot be read or watched.
    fn refuse(&mut self, key: SubscriptionKey) -> Vec<PresenceEffect> {
        let mut effects = vec![PresenceEffect::Error];
        if let Some(room) = self.rooms.remove(&key) {
            let unwatch = self.unwatch(room.members);
            // The client may watch members by itself.
            effects.extend(unwatch.filter(|_| room.is_watched));
        }
        effects
    }

    /// Sends the answer once the states of all members are known.
    fn complete(&mut self, key: SubscriptionKey) -> Option<PresenceEffect> {
        let room = self.rooms.get_mut(&key)?;
        let is_known = room.members.iter().all(|member| self.states.contains_key(member));
        is_known.then(|| {
            room.phase = RoomPhase::Live;
            PresenceEffect::Info
        })
    }

    /// Forgets the users that no room has any more.
    fn unwatch(&mut self, users: impl IntoIterator<Item = UserId>) -> Option<PresenceEffect> {
        let is_gone = |user: &UserId| !self.rooms.values().any(|room| room.members.contains(user));
        let gone: Vec<UserId> = users.into_iter().filter(is_gone).collect();
        for user in &gone {
            self.states.remove(user);
        }
        (!gone.is_empty()).then_some(PresenceEffect::Unwatch(gone))
    }
}

// === impl PresenceRoom ===

impl PresenceRoom {
    fn list_again(&mut self) -> PresenceEffect {
        self.listed_again = Some(BTreeSet::new());
        FIRST_PAGE
    }

    fn watch(&self) -> PresenceEffect {
        PresenceEffect::WatchRoom(self.members.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests;
