//! Presence of the members of conversations, for clients that ask for it. Pure.
//!
//! A request lists the members and watches them by commands of the native protocol. The answer follows once the state of
//! every member is known, or after a while with those that are. From then on each change is passed on.

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
    /// Watches the members of a new room. Its result is reported.
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
        };
        self.rooms.insert(key, room);
        Some(PresenceEffect::ListMembers {
            cursor: None,
            limit: PAGE as u64,
        })
    }

    /// Handles a page of the members; `None`: it was refused.
    pub(super) fn on_members(
        &mut self,
        key: SubscriptionKey,
        page: Option<MembersResponse>,
    ) -> Option<PresenceEffect> {
        let room = self.rooms.get_mut(&key)?;
        let Some(page) = page else {
            self.rooms.remove(&key);
            return Some(PresenceEffect::Error);
        };
        room.members
            .extend(page.items.into_iter().map(|member| member.user));
        let room_left = LISTED_MEMBERS.saturating_sub(room.members.len());
        Some(match page.next {
            Some(cursor) if room_left > 0 => PresenceEffect::ListMembers {
                cursor: Some(cursor),
                limit: room_left.min(PAGE) as u64,
            },
            _ => PresenceEffect::WatchRoom(room.members.iter().cloned().collect()),
        })
    }

    /// Handles the result of watching the members of a new room.
    pub(super) fn on_watched(&mut self, key: SubscriptionKey, accepted: bool) -> Option<PresenceEffect> {
        let room = self.rooms.get_mut(&key)?;
        if !accepted {
            self.rooms.remove(&key);
            return Some(PresenceEffect::Error);
        }
        room.phase = RoomPhase::Waiting(PATIENCE_PINGS);
        self.complete(key)
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
        let (is_live, state) = (room.phase == RoomPhase::Live, self.states.get(user).copied());
        let online = state.filter(|state| is_live && state.is_online);
        let mut effects = Vec::new();
        if added {
            if room.members.len() < LISTED_MEMBERS && room.members.insert(user.clone()) {
                effects.extend(online.map(|state| PresenceEffect::Join(user.clone(), state)));
                effects.push(PresenceEffect::Watch(user.clone()));
            }
        } else if room.members.remove(user) {
            effects.extend(online.map(|_| PresenceEffect::Leave(user.clone())));
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

#[cfg(test)]
mod tests;
