//! Cache of profiles for side tables, bounded in number. It spares the transfer, not the question: an owner answers only
//! with profiles whose version is another than the cached one.

use std::collections::{HashMap, VecDeque};

use protocol::UserId;
use protocol::response::UserCard;

/// Maximum number of entries. The one that came first is evicted for another.
const ENTRIES: usize = 8_192;

/// Profiles that this node has read.
#[derive(Debug, Default)]
pub(super) struct ProfileCache {
    cards: HashMap<UserId, UserCard>,
    /// Users in the order in which they came.
    order: VecDeque<UserId>,
}

// === impl ProfileCache ===

impl ProfileCache {
    pub(super) fn get(&self, user: &UserId) -> Option<&UserCard> {
        self.cards.get(user)
    }

    /// Stores a profile, unless a later version is there: answers may overtake each other.
    pub(super) fn put(&mut self, user: &UserId, card: &UserCard) {
        match self.cards.get_mut(user) {
            Some(known) if known.version < card.version => *known = card.clone(),
            Some(_) => {}
            None => {
                while self.order.len() >= ENTRIES
                    && let Some(first) = self.order.pop_front()
                {
                    self.cards.remove(&first);
                }
                self.cards.insert(user.clone(), card.clone());
                self.order.push_back(user.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("u{number}")).unwrap()
    }

    fn card(version: u64) -> UserCard {
        UserCard {
            name: Some(version.to_string()),
            avatar: None,
            version,
        }
    }

    #[test]
    fn a_later_version_replaces_an_earlier_one_only() {
        let mut cache = ProfileCache::default();
        for version in [2, 3, 1] {
            cache.put(&user(1), &card(version));
        }
        assert_eq!(cache.get(&user(1)), Some(&card(3)));
        assert_eq!(cache.order.len(), 1);
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let mut cache = ProfileCache::default();
        for number in 0..ENTRIES + 10 {
            cache.put(&user(number), &card(1));
        }
        assert_eq!((cache.cards.len(), cache.order.len()), (ENTRIES, ENTRIES));
        assert_eq!(cache.get(&user(9)), None);
        assert!(cache.get(&user(10)).is_some() && cache.get(&user(ENTRIES + 9)).is_some());
    }
}
