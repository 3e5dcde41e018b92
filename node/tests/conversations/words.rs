//! What becomes of messages, across nodes.

use node::testkit::{
    ConversationOp, HistoryRange, HistoryRequest, MessagesQuery, ServiceCluster, eventually, user,
};

#[actix::test]
async fn every_node_shows_the_same_messages_as_they_are_now() {
    let mut cluster = ServiceCluster::start(3).await;
    let conv = cluster.nodes[0].group("alice", &["bob", "carol"]).await;
    let (bob, from) = cluster.nodes[1].listen("bob", &conv).await;
    let first = cluster.nodes[0].send("alice", &conv, "first").await.unwrap().s;
    let second = cluster.nodes[1].send("bob", &conv, "second").await.unwrap().s;
    let run = async |node: usize, by: &str, id: &str, op| {
        cluster.nodes[node].command(by, &conv, id, op).await.unwrap()
    };
    let edit = ConversationOp::Edit {
        of: first,
        body: r#"{"text":"better"}"#.into(),
        mentions: None,
    };
    let react = |k: &str| ConversationOp::React {
        of: first,
        k: k.into(),
        on: true,
        who: None,
    };
    let edited = run(1, "alice", "e", edit).await;
    run(2, "carol", "r1", react("+1")).await;
    run(1, "bob", "r2", react("+1")).await;
    let deleted = run(2, "bob", "d", ConversationOp::Delete { of: second }).await;
    // The same key on another node is the same event.
    let again = run(0, "bob", "d", ConversationOp::Delete { of: second }).await;
    assert_eq!((again.s, again.dup), (deleted.s, true));

    eventually("the deletion", async || bob.last(&conv) == deleted.s).await;
    let live = bob.contiguous(&conv, from);
    let owner = cluster.owner_and_others(&conv).0;
    for killed in [false, true] {
        if killed {
            cluster.crash(owner).await;
        }
        for node in &cluster.nodes {
            let mut history = None;
            eventually("an answer", async || {
                let question = MessagesQuery {
                    conv: conv.clone(),
                    user: user("carol"),
                    page: HistoryRange::Newest,
                    limit: 50,
                };
                let page = node.conversations.query(&question).await;
                history = page.ok().map(|page| page.page(&conv).unwrap());
                history.is_some()
            })
            .await;
            let history = serde_json::to_value(history.unwrap()).unwrap();
            let [one, two] = &history["items"].as_array().unwrap()[..] else {
                panic!("{history}")
            };
            assert_eq!(
                (&one["b"]["text"], &one["edited_ts"]),
                (&"better".into(), &edited.ts.into())
            );
            assert_eq!(one["reactions"], serde_json::json!({"+1": 2}));
            assert_eq!(
                (&two["b"], &two["deleted"]),
                (&serde_json::json!({}), &true.into())
            );
            let question = HistoryRequest {
                conv: conv.clone(),
                user: user("carol"),
                page: HistoryRange::After(second),
                limit: 50,
            };
            let page = node.conversations.query(&question).await.unwrap();
            let page = page.page(&conv).unwrap();
            let tails: Vec<_> = page.events.iter().map(|event| event.tail().to_owned()).collect();
            assert_eq!(tails[..], live[2..], "live and read later");
        }
    }
    cluster.stop().await;
}
