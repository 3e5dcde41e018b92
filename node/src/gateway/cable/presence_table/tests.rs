use protocol::Role;
use protocol::response::{ConversationMember, UserCards};

use super::*;
use crate::gateway::cable::channel_stream::ChannelStream;
use crate::gateway::cable::identifier::ChannelIdentifier;
use crate::gateway::cable::subscription_table::{SubscriptionLimits, SubscriptionTable};

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// Keys of this many subscriptions.
fn keys(count: usize) -> Vec<SubscriptionKey> {
    let mut table = SubscriptionTable::new(SubscriptionLimits { count, bytes: 10_000 });
    let add = |n| {
        let text = format!(r#"{{"channel":"ChatChannel","c":"g_{n}"}}"#);
        let identifier = ChannelIdentifier::parse(&text).unwrap();
        table.add(&identifier, &user("alice"), ChannelStream::opening(None))
    };
    (0..count).filter_map(add).collect()
}

fn page(names: &[&str], next: Option<&str>) -> Option<MembersResponse> {
    let member = |name: &&str| ConversationMember {
        user: user(name),
        role: Role::Member,
        delivered: None,
        read: None,
        data: None,
    };
    Some(MembersResponse {
        items: names.iter().map(member).collect(),
        next: next.map(str::to_owned),
        users: UserCards::new(),
    })
}

fn online(seen_ms: u64) -> MemberState {
    MemberState {
        is_online: true,
        seen_ms: Some(seen_ms),
    }
}

const OFFLINE: MemberState = MemberState {
    is_online: false,
    seen_ms: None,
};

/// Table whose only room has these members, all offline.
fn live(key: SubscriptionKey, names: &[&str]) -> PresenceTable {
    let mut table = PresenceTable::default();
    table.on_request(key);
    table.on_members(key, page(names, None));
    table.on_watched(key, true);
    for name in names {
        table.on_presence(&user(name), OFFLINE);
    }
    assert!(!table.is_waiting());
    table
}

#[test]
fn answer_follows_once_every_member_is_known() {
    let key = keys(1)[0];
    let mut table = PresenceTable::default();
    let list = |cursor: Option<&str>| PresenceEffect::ListMembers {
        cursor: cursor.map(str::to_owned),
        limit: 100,
    };
    assert_eq!(table.on_request(key), Some(list(None)));
    assert_eq!(table.on_request(key), None, "asked already");
    assert_eq!(
        table.on_members(key, page(&["ann"], Some("ann"))),
        [list(Some("ann"))]
    );
    let watch = PresenceEffect::WatchRoom(vec![user("ann"), user("bob")]);
    assert_eq!(table.on_members(key, page(&["bob"], None)), [watch]);
    // A state may come before the answer to the watch.
    assert_eq!(table.on_presence(&user("ann"), online(7)), []);
    assert_eq!(table.on_watched(key, true), []);
    assert!(table.is_waiting());
    assert_eq!(
        table.on_presence(&user("bob"), OFFLINE),
        [(key, PresenceEffect::Info)]
    );
    assert_eq!(table.online(key), [(&user("ann"), online(7))]);
    assert_eq!(table.on_request(key), Some(PresenceEffect::Info));
}

#[test]
fn answer_does_not_wait_for_an_unreachable_owner() {
    let key = keys(1)[0];
    let mut table = PresenceTable::default();
    table.on_request(key);
    table.on_members(key, page(&["ann", "bob"], None));
    table.on_watched(key, true);
    table.on_presence(&user("ann"), online(7));
    for _ in 0..PATIENCE_PINGS {
        assert_eq!(table.on_ping(), []);
    }
    assert_eq!(table.on_ping(), [(key, PresenceEffect::Info)]);
    assert!(!table.is_waiting());
    let join = PresenceEffect::Join(user("bob"), online(8));
    assert_eq!(table.on_presence(&user("bob"), online(8)), [(key, join)]);
}

#[test]
fn changes_are_passed_on_once() {
    let key = keys(1)[0];
    let (bob, mut table) = (user("bob"), live(key, &["ann", "bob"]));
    let join = PresenceEffect::Join(bob.clone(), online(9));
    assert_eq!(table.on_presence(&bob, online(9)), [(key, join)]);
    assert_eq!(table.on_presence(&bob, online(10)), [], "still online");
    assert_eq!(
        table.on_presence(&bob, OFFLINE),
        [(key, PresenceEffect::Leave(bob.clone()))]
    );
    assert_eq!(table.on_presence(&user("eve"), online(1)), [], "no member");
}

#[test]
fn new_members_are_watched_and_removed_ones_leave() {
    let key = keys(1)[0];
    let (bob, mut table) = (user("bob"), live(key, &["ann"]));
    assert_eq!(
        table.on_member(key, &bob, true),
        [PresenceEffect::Watch(bob.clone())]
    );
    assert_eq!(table.on_member(key, &bob, true), [], "a change of the role");
    let join = PresenceEffect::Join(bob.clone(), online(9));
    assert_eq!(table.on_presence(&bob, online(9)), [(key, join)]);
    let effects = table.on_member(key, &bob, false);
    let unwatch = PresenceEffect::Unwatch(vec![bob.clone()]);
    assert_eq!(effects, [PresenceEffect::Leave(bob.clone()), unwatch]);
    assert_eq!(table.on_member(key, &bob, false), []);
}

#[test]
fn users_stay_watched_while_another_room_has_them() {
    let [first, second] = keys(2)[..] else {
        panic!("two keys");
    };
    let mut table = live(first, &["ann", "bob"]);
    table.on_request(second);
    table.on_members(second, page(&["bob", "eve"], None));
    table.on_watched(second, true);
    assert_eq!(
        table.on_presence(&user("eve"), OFFLINE),
        [(second, PresenceEffect::Info)],
        "Bob is known"
    );
    assert_eq!(
        table.remove(first),
        Some(PresenceEffect::Unwatch(vec![user("ann")]))
    );
    let rest = PresenceEffect::Unwatch(vec![user("bob"), user("eve")]);
    assert_eq!(table.remove(second), Some(rest));
    assert!(table.states.is_empty() && table.rooms.is_empty());
}

#[test]
fn refusals_end_the_request() {
    let key = keys(1)[0];
    let mut table = PresenceTable::default();
    table.on_request(key);
    assert_eq!(table.on_members(key, None), [PresenceEffect::Error]);
    assert_eq!(table.on_members(key, page(&["ann"], None)), [], "late");
    table.on_request(key);
    table.on_members(key, page(&["ann"], None));
    assert_eq!(table.on_watched(key, false), [PresenceEffect::Error]);
    assert_eq!(table.on_watched(key, true), [], "late");
}

#[test]
fn states_of_a_refused_room_are_forgotten() {
    let key = keys(1)[0];
    let mut table = PresenceTable::default();
    table.on_request(key);
    table.on_members(key, page(&["ann"], None));
    // The client watches the member by itself.
    table.on_presence(&user("ann"), online(7));
    assert_eq!(table.on_watched(key, false), [PresenceEffect::Error]);
    assert!(table.states.is_empty());
    table.on_request(key);
    table.on_members(key, page(&["ann"], None));
    assert_eq!(
        table.on_watched(key, true),
        [],
        "the state of before may be wrong"
    );
    assert!(table.is_waiting());
}

#[test]
fn members_and_states_are_read_again_after_a_loss() {
    let key = keys(1)[0];
    let mut table = live(key, &["ann", "bob"]);
    table.on_presence(&user("bob"), online(5));
    assert_eq!(table.on_loss(), [(key, FIRST_PAGE)]);
    // Changes are passed on meanwhile.
    assert_eq!(
        table.on_member(key, &user("dan"), true),
        [PresenceEffect::Watch(user("dan"))]
    );
    let watch = PresenceEffect::WatchRoom(vec![user("ann"), user("dan"), user("eve")]);
    assert_eq!(
        table.on_members(key, page(&["ann", "eve"], None)),
        [
            PresenceEffect::Leave(user("bob")),
            PresenceEffect::Unwatch(vec![user("bob")]),
            watch
        ]
    );
    assert_eq!(table.on_watched(key, true), []);
    let join = PresenceEffect::Join(user("ann"), online(9));
    assert_eq!(table.on_presence(&user("ann"), online(9)), [(key, join)]);
    assert_eq!(table.on_presence(&user("eve"), OFFLINE), []);
}

#[test]
fn loss_during_a_listing_repeats_it() {
    let key = keys(1)[0];
    let mut table = PresenceTable::default();
    table.on_request(key);
    assert_eq!(table.on_loss(), [], "the answers are on their way");
    table.on_members(key, page(&["ann"], None));
    assert_eq!(table.on_watched(key, true), [FIRST_PAGE]);
    let unwatch = PresenceEffect::Unwatch(vec![user("ann")]);
    let watch = PresenceEffect::WatchRoom(vec![user("bob")]);
    assert_eq!(table.on_members(key, page(&["bob"], None)), [unwatch, watch]);
    assert_eq!(table.on_watched(key, true), []);
    // And so does one while the states are awaited.
    assert_eq!(table.on_loss(), [(key, FIRST_PAGE)]);
    assert_eq!(table.on_loss(), []);
    assert_eq!(table.on_members(key, page(&["bob"], None)), [FIRST_PAGE]);
    let watch = PresenceEffect::WatchRoom(vec![user("bob")]);
    assert_eq!(table.on_members(key, page(&["bob"], None)), [watch]);
    table.on_presence(&user("bob"), online(3));
    assert_eq!(table.on_watched(key, true), [PresenceEffect::Info]);
}

#[test]
fn room_that_cannot_be_read_again_ends() {
    let key = keys(1)[0];
    let mut table = live(key, &["ann"]);
    table.on_loss();
    let unwatch = PresenceEffect::Unwatch(vec![user("ann")]);
    assert_eq!(table.on_members(key, None), [PresenceEffect::Error, unwatch]);
    assert!(!table.follows(key) && table.states.is_empty());
}

#[test]
fn rooms_and_their_members_are_bounded() {
    let keys = keys(ROOMS + 1);
    let mut table = PresenceTable::default();
    for key in &keys[..ROOMS] {
        table.on_request(*key);
    }
    assert_eq!(table.on_request(keys[ROOMS]), Some(PresenceEffect::Error));

    let names: Vec<String> = (0..LISTED_MEMBERS).map(|n| format!("u{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let next = table.on_members(keys[0], page(&names[..200], Some("u199")));
    let rest = PresenceEffect::ListMembers {
        cursor: Some("u199".to_owned()),
        limit: 56,
    };
    assert_eq!(next, [rest]);
    // There are further members, which are not shown.
    let watch = table.on_members(keys[0], page(&names[200..], Some("u255")));
    let [PresenceEffect::WatchRoom(watched)] = &watch[..] else {
        panic!("no watch");
    };
    assert_eq!(watched.len(), LISTED_MEMBERS);
    assert_eq!(table.on_member(keys[0], &user("v"), true), []);
}
