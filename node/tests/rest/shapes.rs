//! Clients of every kind in one conversation, on three nodes: whichever way they do it, all see the same.

use std::collections::BTreeMap;

use serde_json::json;

use node::testkit::{SocketUse, TestCluster, TestUser};

/// Messages of each.
const EACH: u64 = 5;

#[tokio::test]
async fn clients_of_every_kind_see_the_same_event_at_the_same_seq() {
    let cluster = TestCluster::start().await;
    let kinds = [
        ("ada", SocketUse::Socket, 0),
        ("ben", SocketUse::ReceiveAndType, 1),
        ("cid", SocketUse::Receive, 2),
        ("dan", SocketUse::Resync, 0),
        ("eve", SocketUse::Socket, 2),
        ("fay", SocketUse::Receive, 1),
        ("gil", SocketUse::Poll, 2),
    ];
    let mut people = Vec::new();
    for (name, socket_use, node) in kinds {
        people.push(TestUser::new(name, socket_use, &cluster.nodes[node]).await);
    }
    let names: Vec<_> = kinds.iter().map(|(name, ..)| *name).collect();
    let c = people[0].create(&names[1..]).await;
    for person in &mut people {
        person.enter(&c).await;
    }

    // They talk in turns.
    let mut last = 0;
    for i in 0..EACH {
        for person in &mut people {
            let cid = format!("{}-{i}", person.name);
            last = person.send(&cid, json!({ "by": person.name, "i": i })).await;
        }
    }
    let members = kinds.len() as u64;
    assert_eq!(
        last,
        members + EACH * members,
        "no place is left out and none is used twice"
    );

    // Each receives everything, its own way, and has the same log.
    for person in &mut people {
        person.receive(last).await;
    }
    for person in &people[1..] {
        assert_eq!(
            person.log, people[0].log,
            "{} {:?}",
            person.name, person.socket_use
        );
    }
    for (name, ..) in kinds {
        let own = people[0]
            .log
            .values()
            .filter(|event| event["t"] == "msg" && event["u"] == name);
        let order: Vec<_> = own.map(|event| event["b"]["i"].as_u64().unwrap()).collect();
        assert_eq!(order, (0..EACH).collect::<Vec<_>>(), "{name}'s own order");
    }

    // Whoever types, by whichever way, is seen by those who are told what happens. They listen, as they have just received,
    // and nobody reads slowly: none of it is dropped.
    for typist in 0..people.len() {
        let name = people[typist].name;
        people[typist].types().await;
        for watcher in (0..people.len()).filter(|watcher| *watcher != typist) {
            if people[watcher].socket_use != SocketUse::Resync {
                people[watcher].sees_typing(name).await;
            }
        }
    }

    // The list of messages says what the log says.
    let sent: Vec<_> = people[0]
        .log
        .iter()
        .filter(|(_, event)| event["t"] == "msg")
        .map(|(s, event)| (*s, event["b"].clone()))
        .collect();
    for person in &mut people {
        assert_eq!(
            person.messages().await,
            sent,
            "{} {:?}",
            person.name,
            person.socket_use
        );
    }

    // Each sees it, and each is told that all have. One's own last message is read by having sent it.
    for person in &mut people {
        let threads = person.threads().await;
        assert_eq!(threads[0]["c"], json!(c));
        let after_own = members - 1 - names.iter().position(|name| *name == person.name).unwrap() as u64;
        assert_eq!(threads[0]["unread"], after_own, "{}", person.name);
        person.saw(last).await;
        assert_eq!(person.threads().await[0]["unread"], 0, "{}", person.name);
    }
    let everybody: BTreeMap<_, _> = names.iter().map(|name| ((*name).to_owned(), last)).collect();
    for person in &mut people {
        assert_eq!(
            person.seen_by().await,
            everybody,
            "{} {:?}",
            person.name,
            person.socket_use
        );
    }
    drop(people);
    cluster.stop().await;
}
