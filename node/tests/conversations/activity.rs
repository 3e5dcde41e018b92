//! What the shards of a conversation's members learn of its messages.

use std::time::Duration;

use node::testkit::{PlacedEntry, ServiceCluster, ServiceNode, eventually, user};
use protocol::ConversationId;

/// Where bob's shard has the conversation.
async fn placed(node: &ServiceNode, conv: &ConversationId) -> Option<PlacedEntry> {
    let found = node.conversations.latest(&user("bob"), None, 100).await.ok()?;
    found.into_iter().find(|placed| placed.conv == *conv)
}

#[actix::test]
async fn a_message_moves_its_conversation_though_the_owner_dies() {
    // Longer than the test takes: what comes within the window is told by nobody but a new owner.
    let mut cluster =
        ServiceCluster::with(3, |settings| settings.activity_window = Duration::from_secs(600)).await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    let (owner, others) = cluster.owner_and_others(&conv);
    let node = cluster.node(others[0]);
    let first = node.send("alice", &conv, "first").await.unwrap().s;
    eventually("bob's shard knows of the first message", async || {
        placed(node, &conv)
            .await
            .is_some_and(|placed| placed.last.seq == first)
    })
    .await;
    let second = node.send("alice", &conv, "second").await.unwrap().s;
    assert!(
        placed(node, &conv)
            .await
            .is_none_or(|placed| placed.last.seq < second),
        "it is told at the end of the window"
    );
    cluster.crash(owner).await;
    let node = cluster.node(others[0]);
    eventually("the new owner tells of the second one", async || {
        placed(node, &conv)
            .await
            .is_some_and(|placed| placed.last.seq == second)
    })
    .await;
    cluster.stop().await;
}

#[actix::test]
async fn a_window_reports_at_its_end_and_a_quiet_one_ends_the_watch() {
    let cluster = ServiceCluster::with(3, |settings| {
        settings.activity_window = Duration::from_millis(300)
    })
    .await;
    let conv = cluster.nodes[0].group("alice", &["bob"]).await;
    // The first begins a watch, the last is told whatever the windows are.
    let mut last = 0;
    for round in 0..30 {
        last = cluster.nodes[round % 3]
            .send("alice", &conv, &format!("m{round}"))
            .await
            .unwrap()
            .s;
    }
    for round in 0..3 {
        eventually("the last message", async || {
            placed(&cluster.nodes[1], &conv)
                .await
                .is_some_and(|placed| placed.last.seq == last)
        })
        .await;
        // Behind a quiet window the next message begins a watch anew.
        tokio::time::sleep(Duration::from_millis(250 * round)).await;
        last = cluster.nodes[0]
            .send("alice", &conv, &format!("later-{round}"))
            .await
            .unwrap()
            .s;
    }
    cluster.stop().await;
}
