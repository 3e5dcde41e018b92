//! The inbox of somebody who is in many conversations.

use std::collections::BTreeMap;

use futures::future::join_all;
use node::testkit::{ConversationOp, ConversationSpec, ServiceCluster, ServiceNode, cid, eventually, user};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use protocol::response::ConversationListItem;
use protocol::{ClientMessageId, ConversationId, ConversationKind};

const MANY: usize = 500;

/// Makes `MANY` groups of alice and bob with a message each, and waits until alice's shard knows them all.
async fn fill(cluster: &ServiceCluster) -> Vec<ConversationId> {
    let node = &cluster.nodes[0];
    let mut convs = Vec::new();
    for hundred in 0..MANY / 100 {
        let made = (0..100).map(|i| {
            let (key, members): (ClientMessageId, _) = (cid(&format!("g{hundred}-{i}")), vec![user("alice")]);
            node.conversations.create(
                user("bob"),
                key,
                0,
                ConversationSpec::plain(ConversationKind::Group, members),
            )
        });
        let made = join_all(made).await;
        convs.extend(made.into_iter().map(|done| done.unwrap().conv));
    }
    for sent in join_all(convs.iter().map(|conv| node.send("bob", conv, "hello"))).await {
        sent.unwrap();
    }
    eventually("alice's shard knows them", async || {
        let index = node.conversations.index(&user("alice"), None, MANY + 1).await;
        index.is_ok_and(|index| index.items.len() == MANY)
    })
    .await;
    convs
}

/// Reads a whole list; `between` happens after each page.
async fn list(
    node: &ServiceNode,
    limit: usize,
    mut between: impl AsyncFnMut(usize),
) -> (Vec<ConversationListItem>, usize) {
    let (mut items, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = node
            .conversations
            .inbox(&user("alice"), cursor, limit)
            .await
            .unwrap();
        assert!(page.items.len() <= limit);
        items.extend(page.items);
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            return (items, pages);
        }
        between(pages).await;
    }
}

/// Questions that all nodes have answered.
fn questions(cluster: &ServiceCluster) -> u64 {
    let of = |node: &ServiceNode| {
        let (mut registry, mut text) = (Registry::default(), String::new());
        node.service.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("queries_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    cluster.nodes.iter().map(of).sum()
}

#[actix::test]
async fn inbox_page_costs_one_query_per_owner_with_exact_counts() {
    let cluster = ServiceCluster::start(3).await;
    let convs = fill(&cluster).await;
    // Some are read, in some alice is mentioned, in some both.
    let done = convs.iter().enumerate().map(async |(i, conv)| {
        let (mut unread, mut mentions) = (1, 0);
        if i % 5 == 0 {
            let op = ConversationOp::Send {
                direct: None,
                body: "{}".into(),
                reply_to: None,
                mentions: vec![user("alice")],
            };
            cluster.nodes[1]
                .command("bob", conv, "mention", op)
                .await
                .unwrap();
            (unread, mentions) = (unread + 1, 1);
        }
        if i % 7 == 0 {
            let op = ConversationOp::Read { s: 3 };
            cluster.nodes[2].command("alice", conv, "read", op).await.unwrap();
            unread -= 1;
        }
        (conv.clone(), (unread, mentions))
    });
    let expected: BTreeMap<ConversationId, (u64, u64)> = join_all(done).await.into_iter().collect();

    let owners: std::collections::BTreeSet<_> = convs
        .iter()
        .map(|conv| cluster.owner_and_others(conv).0)
        .collect();
    let mut asked = u64::MAX;
    for _ in 0..5 {
        let before = questions(&cluster);
        let page = cluster.nodes[0]
            .conversations
            .inbox(&user("alice"), None, 50)
            .await
            .unwrap();
        assert_eq!(page.items.len(), 50);
        // The least of a few: now and then a shard looks into its outbox meanwhile.
        asked = asked.min(questions(&cluster) - before);
    }
    // Two to the user's shard (which conversations, and whom the user blocks, because of the mentions), one to each owner.
    let most = 2 + owners.len() as u64;
    assert!(
        asked <= most,
        "{asked} questions for one page, {} owners",
        owners.len()
    );

    for node in &cluster.nodes {
        let (items, pages) = list(node, 100, async |_| ()).await;
        // Conversations that were busy a moment ago are shown in windows of 128, two pages each, and those that moved
        // since the list began once more at its end.
        assert!((5..=16).contains(&pages), "{pages}");
        let listed: BTreeMap<ConversationId, (u64, u64)> = items
            .iter()
            .map(|item| (item.conversation.clone(), (item.unread, item.mentions)))
            .collect();
        assert_eq!(listed, expected);
        assert!(items.iter().all(|item| !item.stale && item.last.is_some()));
    }
    cluster.stop().await;
}

#[actix::test]
async fn no_conversation_is_missing_while_an_owner_dies() {
    let mut cluster = ServiceCluster::start(3).await;
    let convs = fill(&cluster).await;
    // Messages arrive in conversations that a reader of the list has not come to.
    let (items, _) = list(&cluster.nodes[0], 60, async |page| {
        for conv in convs.iter().skip(page * 7).step_by(97) {
            cluster.nodes[1]
                .send_until_acked("bob", conv, &format!("during-{page}"))
                .await;
        }
    })
    .await;
    let listed: BTreeMap<&ConversationId, &ConversationListItem> =
        items.iter().map(|item| (&item.conversation, item)).collect();
    assert_eq!(listed.len(), MANY);

    // An owner dies: its rows are stale, and none is left out.
    let owner = cluster.owner_and_others(&convs[0]).0;
    let home = cluster.owner_and_others(&convs[0]).1;
    cluster.crash(owner).await;
    let node = cluster.node(home[0]);
    // The user's own shard may have to be taken over too.
    eventually("a list without the dead owner", async || {
        node.conversations.inbox(&user("alice"), None, 100).await.is_ok()
    })
    .await;
    let (items, _) = list(node, 100, async |_| ()).await;
    let listed: BTreeMap<&ConversationId, &ConversationListItem> =
        items.iter().map(|item| (&item.conversation, item)).collect();
    assert_eq!(listed.len(), MANY);
    eventually("rows of the new owners", async || {
        let (items, _) = list(node, 100, async |_| ()).await;
        items.iter().all(|item| !item.stale && item.unread > 0)
    })
    .await;
    cluster.stop().await;
}
