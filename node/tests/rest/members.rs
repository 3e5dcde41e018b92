//! Who is in a conversation, as what, and who is kept out.

use serde_json::json;

use node::testkit::{Call, Node, group};

#[tokio::test]
async fn members_are_brought_in_put_out_and_leave() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let member_path = |user: &str| format!("/v1/conversations/{c}/members/{user}");
    let invite = || Call::new("PUT", &member_path("carol")).by("alice").key("invite");
    let invited = invite().to(&node).await.is(201);
    assert_eq!((&invited["s"], &invited["dup"]), (&json!(3), &json!(null)));
    assert_eq!(invite().to(&node).await.is(200)["dup"], true);
    let member = Call::new("PUT", &member_path("carol"))
        .by("alice")
        .key("other")
        .to(&node)
        .await;
    member.is_problem(409, "conflict");
    let forbidden = Call::new("PUT", &member_path("dave"))
        .by("bob")
        .key("1")
        .to(&node)
        .await;
    forbidden.is_problem(403, "forbidden");

    let kick = Call::new("DELETE", &member_path("bob"))
        .by("alice")
        .json(&json!({ "cid": "kick" }));
    assert_eq!(kick.to(&node).await.is(200)["s"], 4);
    let gone = Call::new("GET", &format!("/v1/conversations/{c}"))
        .by("bob")
        .to(&node)
        .await;
    gone.is_problem(403, "not_member");
    let leave = Call::new("DELETE", &member_path("carol"))
        .by("carol")
        .key("leave")
        .to(&node)
        .await;
    assert_eq!(leave.is(200)["s"], 5);
    let missing = Call::new("DELETE", &member_path("zoe"))
        .by("alice")
        .key("x")
        .to(&node)
        .await;
    missing.is_problem(404, "not_found");
    Call::new("DELETE", &member_path("bob"))
        .by("alice")
        .to(&node)
        .await
        .is_problem(400, "bad_request");
}

#[tokio::test]
async fn a_role_is_given_and_the_list_of_members_shows_it() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob", "carol"]).await;
    let member_path = |user: &str| format!("/v1/conversations/{c}/members/{user}");
    let role = |by: &str, key: &str, who: &str, role: &str| {
        Call::new("PUT", &member_path(who))
            .by(by)
            .key(key)
            .json(&json!({ "role": role }))
            .to(&node)
    };
    let given = role("alice", "1", "bob", "admin").await.is(200);
    assert_eq!(given["s"], 4);
    assert_eq!(role("alice", "1", "bob", "admin").await.is(200)["dup"], true);
    role("bob", "1", "carol", "owner")
        .await
        .is_problem(403, "forbidden");
    role("bob", "1", "carol", "reader").await.is(200);
    role("alice", "2", "zoe", "reader")
        .await
        .is_problem(404, "not_found");
    role("alice", "2", "bob", "king")
        .await
        .is_problem(400, "bad_request");

    let list = |query: &str| Call::new("GET", &format!("/v1/conversations/{c}/members{query}")).by("carol");
    let first = list("?limit=2").to(&node).await;
    let page = first.is(200);
    let roles: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["u"].as_str().unwrap(), member["role"].as_str().unwrap()))
        .collect();
    assert_eq!(roles, [("alice", "owner"), ("bob", "admin")]);
    let again = list("?limit=2")
        .with("If-None-Match", first.header("ETag"))
        .to(&node)
        .await;
    assert_eq!(again.status, 304);
    let rest = list(&format!("?limit=2&cursor={}", page["next"].as_str().unwrap()))
        .to(&node)
        .await
        .is(200);
    assert_eq!(
        (&rest["items"][0]["u"], &rest["next"]),
        (&json!("carol"), &json!(null))
    );
    let non_member = Call::new("GET", &format!("/v1/conversations/{c}/members")).by("zoe");
    non_member.to(&node).await.is_problem(403, "not_member");
}

#[tokio::test]
async fn a_channel_is_joined_until_one_is_banned_from_it() {
    let node = Node::start().await;
    let make = Call::new("POST", "/v1/conversations")
        .by("alice")
        .key("make")
        .json(&json!({ "kind": "channel", "title": "News" }));
    let c = make.to(&node).await.is(201)["c"].as_str().unwrap().to_owned();
    let path = |what: &str, user: &str| format!("/v1/conversations/{c}/{what}/{user}");
    let join = |key: &str| Call::new("PUT", &path("members", "bob")).by("bob").key(key);
    assert_eq!(join("1").to(&node).await.is(201)["s"], 2);
    assert_eq!(join("1").to(&node).await.is(200)["dup"], true);
    join("2").to(&node).await.is_problem(409, "conflict");

    let ban = |method: &str, by: &str, key: &str| Call::new(method, &path("bans", "bob")).by(by).key(key);
    ban("PUT", "bob", "b")
        .to(&node)
        .await
        .is_problem(400, "bad_request");
    assert_eq!(ban("PUT", "alice", "b").to(&node).await.is(201)["s"], 3);
    assert_eq!(ban("PUT", "alice", "b").to(&node).await.is(200)["dup"], true);
    ban("PUT", "alice", "b2")
        .to(&node)
        .await
        .is_problem(409, "conflict");
    join("3").to(&node).await.is_problem(403, "forbidden");
    let list = |by: &str| {
        let path = format!("/v1/conversations/{c}/bans");
        Call::new("GET", &path).by(by).to(&node)
    };
    let bans = list("alice").await.is(200);
    assert_eq!(bans["items"].as_array().unwrap().len(), 1, "{bans}");
    let banned = &bans["items"][0];
    assert_eq!((&banned["u"], &banned["by"]), (&json!("bob"), &json!("alice")));
    list("bob").await.is_problem(403, "not_member");
    assert_eq!(ban("DELETE", "alice", "u").to(&node).await.is(200)["s"], 4);
    ban("DELETE", "alice", "u2")
        .to(&node)
        .await
        .is_problem(404, "not_found");
    join("4").to(&node).await.is(201);
}

#[tokio::test]
async fn one_who_is_blocked_writes_no_direct_messages() {
    let node = Node::start().await;
    let send = |key: &str| {
        let call = Call::new("POST", "/v1/users/bob/messages").by("alice").key(key);
        call.json(&json!({ "b": {} })).to(&node)
    };
    let block = |method: &str, who: &str| {
        let path = format!("/v1/users/{who}/block");
        Call::new(method, &path).by("bob").to(&node)
    };
    let c = send("1").await.is(201)["c"].as_str().unwrap().to_owned();
    let blocked = block("PUT", "alice").await;
    assert_eq!((blocked.status, blocked.text.as_str()), (204, ""));
    // The list is told through the outbox of the other shard.
    let mut list = json!(null);
    while list["items"] != json!(["alice"]) {
        list = Call::new("GET", "/v1/blocks").by("bob").to(&node).await.is(200);
    }
    assert_eq!(list["next"], json!(null));
    block("PUT", "alice").await.is(204);
    send("2").await.is_problem(403, "forbidden");
    let by_id = Call::new("POST", &format!("/v1/conversations/{c}/messages"))
        .by("alice")
        .key("3")
        .json(&json!({ "b": {} }));
    by_id.to(&node).await.is_problem(403, "forbidden");
    block("DELETE", "alice").await.is(204);
    send("2").await.is(201);
    block("PUT", "bob").await.is_problem(400, "bad_request");
}
