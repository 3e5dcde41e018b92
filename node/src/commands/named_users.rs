//! Users that a response names, for its side table of profiles. Pure.

use std::collections::BTreeSet;

use protocol::response::{ConversationList, ConversationSnapshot, MembersResponse};
use protocol::{EncodedEvent, UserId};
use serde::Deserialize;

/// Users of an event: the author, and the user whom the author acted on.
#[derive(Deserialize)]
struct EventUsers {
    u: Option<UserId>,
    who: Option<UserId>,
}

/// Returns the peers of direct conversations and the authors of the last messages.
pub(super) fn users_of_list(list: &ConversationList) -> BTreeSet<UserId> {
    let peers = list.items.iter().filter_map(|item| item.peer.as_ref());
    let last = list.items.iter().filter_map(|item| item.last.as_ref());
    peers
        .map(|peer| peer.user.clone())
        .chain(last.flat_map(of_event))
        .collect()
}

/// Returns the peer and the users of the events.
pub(crate) fn users_of_conversation(view: &ConversationSnapshot) -> BTreeSet<UserId> {
    let peer = view.peer.iter().map(|peer| peer.user.clone());
    peer.chain(view.events.iter().flatten().flat_map(of_event))
        .collect()
}

/// Returns the members of the page.
pub(super) fn users_of_members(page: &MembersResponse) -> BTreeSet<UserId> {
    page.items.iter().map(|member| member.user.clone()).collect()
}

fn of_event(event: &EncodedEvent) -> impl Iterator<Item = UserId> + use<> {
    // An event of a later version may name its users otherwise, and then has none here.
    let users = serde_json::from_str(event.as_str()).unwrap_or(EventUsers { u: None, who: None });
    [users.u, users.who].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(users: BTreeSet<UserId>) -> Vec<String> {
        users.into_iter().map(|user| user.to_string()).collect()
    }

    #[test]
    fn each_user_of_a_list_is_named_once() {
        let text = r#"{"items":[
            {"c":"d_1","kind":"direct","peer":{"u":"ben","delivered":0,"read":0},
             "last":{"t":"msg","c":"d_1","s":3,"mn":1,"ts":9,"u":"ada","cid":"k","b":{"u":"eve"}}},
            {"c":"g_1","kind":"group","last":{"t":"msg","c":"g_1","s":3,"mn":1,"ts":9,"u":"ben","cid":"k","b":{}}},
            {"c":"g_2","kind":"group","last":null,"stale":true}],"next":null}"#;
        assert_eq!(
            names(users_of_list(&serde_json::from_str(text).unwrap())),
            ["ada", "ben"]
        );
    }

    #[test]
    fn the_peer_and_the_users_of_the_events_are_named() {
        let text = r#"{"c":"g_1","kind":"group","role":"member","last":{"s":3,"mn":1,"ts":9},"read":0,"delivered":0,
            "peer":{"u":"ada","delivered":0,"read":0},"events":[
            {"t":"member","c":"g_1","s":1,"ts":5,"u":"ben","who":"cy","role":"member","why":"invite"},
            {"t":"hologram","c":"g_1","s":2,"u":7},
            {"t":"msg","c":"g_1","s":3,"mn":1,"ts":9,"u":"dan","cid":"k","b":{}}]}"#;
        let view = serde_json::from_str(text).unwrap();
        assert_eq!(names(users_of_conversation(&view)), ["ada", "ben", "cy", "dan"]);
    }
}
