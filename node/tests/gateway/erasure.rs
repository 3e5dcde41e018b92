//! What was deleted is nowhere on the disk any more.

use serde_json::json;

use node::testkit::{Node, files_with};

#[tokio::test]
async fn deleted_words_are_gone_from_every_file_of_the_data_directory() {
    let node = Node::start().await;
    let mut alice = node.client("alice").await;
    // Words that compression leaves as they are.
    let words = ["first-b1WqZ0xKfT7e", "second-Lr5vYc92PjHs", "stays-Xm3nGd8RtUoQ"];
    let mut sent = Vec::new();
    for (n, word) in [(0, words[0]), (2, words[2])] {
        let send = json!({"t":"send","id":n,"to":"bob","cid":format!("k{n}"),"b":{"text":word}});
        alice.send(&send.to_string()).await;
        sent.push(alice.expect("ack").await);
    }
    let (c, of) = (&sent[0]["c"], &sent[0]["s"]);
    let edit = json!({"t":"edit","id":5,"c":c,"of":of,"cid":"e","b":{"text":words[1]}});
    alice.send(&edit.to_string()).await;
    alice.expect("ack").await;
    node.running.tidy().await;
    for word in words {
        let files = files_with(node.dir.path(), word);
        assert!(!files.is_empty(), "the search would not find {word}");
    }

    let delete = json!({"t":"del","id":6,"c":c,"of":of,"cid":"d"});
    alice.send(&delete.to_string()).await;
    alice.expect("ack").await;
    // What the log held at the first call is purged by the second, which may go on beside it; the third finds it done.
    let mut left = Vec::new();
    for _ in 0..100 {
        node.running.tidy().await;
        left = words[..2]
            .iter()
            .flat_map(|word| files_with(node.dir.path(), word))
            .collect();
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(left.is_empty(), "still in {left:?}");
    assert!(
        !files_with(node.dir.path(), words[2]).is_empty(),
        "what is not deleted stays"
    );

    // The members see that something was there, before and after a restart.
    let hist = json!({"t":"hist","id":7,"c":c,"after":of.as_u64().unwrap() - 1}).to_string();
    alice.send(&hist).await;
    let history = alice.expect("hist").await;
    let message = &history["events"][0];
    assert_eq!(
        (&message["b"], &message["deleted"], &message["mn"]),
        (&json!({}), &json!(true), &json!(1))
    );
    node.stop().await;
}
