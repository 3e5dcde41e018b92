//! Side tables of profiles: one question per owner, cached by version, and never in the way of a response.

use std::collections::BTreeSet;

use futures::future::join_all;
use node::testkit::{ServiceCluster, ServiceNode, eventually, user};
use protocol::command::UpdateProfile;
use protocol::{ConversationId, FieldPatch, UserId};

async fn rename(node: &ServiceNode, who: &UserId, name: &str) {
    let patch = UpdateProfile {
        name: FieldPatch::Set(name.to_owned()),
        ..UpdateProfile::default()
    };
    // A shard that has no owner at this moment refuses it for now.
    eventually("the name is changed", async || {
        node.conversations.put_profile(who.clone(), &patch).await.is_ok()
    })
    .await;
}

/// The names that a node shows of these users, in their order; those without one are left out.
async fn names(node: &ServiceNode, users: &BTreeSet<UserId>) -> Vec<String> {
    let cards = node.conversations.cards(users.clone()).await;
    cards.into_values().filter_map(|card| card.name).collect()
}

fn people(prefix: &str) -> BTreeSet<UserId> {
    (10..50)
        .map(|number| user(&format!("{prefix}{number}")))
        .collect()
}

#[actix::test]
async fn side_table_costs_one_question_per_owner() {
    let cluster = ServiceCluster::start(3).await;
    let users = people("u");
    join_all(
        users
            .iter()
            .map(|who| rename(&cluster.nodes[0], who, who.as_str())),
    )
    .await;
    let expected: Vec<String> = users.iter().map(UserId::to_string).collect();
    let of = |who: &UserId| {
        cluster
            .owner_and_others(&ConversationId::parse(who.as_str()).unwrap())
            .0
    };
    let owners: BTreeSet<_> = users.iter().map(of).collect();
    // The table waits only a moment, so a busy machine may miss a name.
    for node in &cluster.nodes {
        eventually("all names", async || names(node, &users).await == expected).await;
    }
    let mut asked = u64::MAX;
    for _ in 0..5 {
        let before: u64 = cluster
            .nodes
            .iter()
            .map(|node| node.figure("queries_total"))
            .sum();
        names(&cluster.nodes[1], &users).await;
        let after: u64 = cluster
            .nodes
            .iter()
            .map(|node| node.figure("queries_total"))
            .sum();
        // The least of a few: now and then a shard looks into its outbox meanwhile.
        asked = asked.min(after - before);
    }
    assert!(
        asked <= owners.len() as u64,
        "{asked} questions, {} owners",
        owners.len()
    );
    // A name that a node has cached is replaced by the next table, wherever it was changed.
    let first = users.first().unwrap();
    rename(&cluster.nodes[2], first, "Renamed").await;
    for node in &cluster.nodes {
        let renamed = async || {
            names(node, &users)
                .await
                .first()
                .is_some_and(|name| name == "Renamed")
        };
        eventually("the new name", renamed).await;
    }
    cluster.stop().await;
}

#[actix::test]
async fn side_table_of_a_dead_owner_has_the_cached_names() {
    let mut cluster = ServiceCluster::start(3).await;
    let (known, unknown) = (people("k"), people("n"));
    for users in [&known, &unknown] {
        join_all(
            users
                .iter()
                .map(|who| rename(&cluster.nodes[0], who, who.as_str())),
        )
        .await;
    }
    let all = |users: &BTreeSet<UserId>| users.iter().map(UserId::to_string).collect::<Vec<_>>();
    let first = ConversationId::parse(unknown.first().unwrap().as_str()).unwrap();
    let (dead, others) = cluster.owner_and_others(&first);
    let here = others[0];
    eventually("all names", async || {
        names(cluster.node(here), &known).await == all(&known)
    })
    .await;
    cluster.crash(dead).await;
    let node = cluster.node(here);
    assert_eq!(names(node, &known).await, all(&known), "from the cache");
    // What is not cached is left out until the shards have other owners; no name is wrong meanwhile.
    let found = names(node, &unknown).await;
    assert!(
        found.iter().all(|name| unknown.contains(name.as_str())),
        "{found:?}"
    );
    eventually("all names", async || names(node, &unknown).await == all(&unknown)).await;
    cluster.stop().await;
}
