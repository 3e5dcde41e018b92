//! Who is in a conversation.

use serde_json::json;

use crate::http::{Call, group};
use crate::support::Node;

#[tokio::test]
async fn members_are_brought_in_put_out_and_leave() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let seat = |user: &str| format!("/v1/conversations/{c}/members/{user}");
    let invite = || Call::new("PUT", &seat("carol")).by("alice").key("invite");
    let invited = invite().to(&node).await.is(200);
    assert_eq!((&invited["s"], &invited["dup"]), (&json!(3), &json!(null)));
    assert_eq!(invite().to(&node).await.is(200)["dup"], true);
    let member = Call::new("PUT", &seat("carol"))
        .by("alice")
        .key("other")
        .to(&node)
        .await;
    member.is_problem(409, "conflict");
    let forbidden = Call::new("PUT", &seat("dave")).by("bob").key("1").to(&node).await;
    forbidden.is_problem(403, "forbidden");

    let kick = Call::new("DELETE", &seat("bob"))
        .by("alice")
        .json(&json!({ "cid": "kick" }));
    assert_eq!(kick.to(&node).await.is(200)["s"], 4);
    let gone = Call::new("GET", &format!("/v1/conversations/{c}"))
        .by("bob")
        .to(&node)
        .await;
    gone.is_problem(403, "not_member");
    let leave = Call::new("DELETE", &seat("carol"))
        .by("carol")
        .key("leave")
        .to(&node)
        .await;
    assert_eq!(leave.is(200)["s"], 5);
    let nobody = Call::new("DELETE", &seat("zoe"))
        .by("alice")
        .key("x")
        .to(&node)
        .await;
    nobody.is_problem(404, "not_found");
    Call::new("DELETE", &seat("bob"))
        .by("alice")
        .to(&node)
        .await
        .is_problem(400, "bad_request");
}
