//! What was said and done outlives the node that decided it, and every node tells the same of it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use node::testkit::{
    ProcessCluster, ReceivingClient, TestTransport, ask, eventually, exchange, get, temporary,
};

/// Members whose view of the conversation is compared.
const VIEWERS: [&str; 3] = ["alice", "bob", "carol"];

/// What the test changes, each change under a key of its own.
struct Hand<'a> {
    addr: SocketAddr,
    c: &'a str,
    keys: usize,
}

// === impl Hand ===

impl Hand<'_> {
    /// A change of the conversation that is acknowledged; returns its place.
    async fn does(&mut self, user: &str, method: &str, path: &str, body: Value) -> u64 {
        let (status, ack) = self.tries(user, method, path, body).await;
        assert!(status < 300, "{method} {path}: {ack}");
        ack["s"].as_u64().unwrap_or(0)
    }

    /// A change that may be refused.
    async fn tries(&mut self, user: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.keys += 1;
        let (path, key) = (
            format!("/v1/conversations/{}{path}", self.c),
            format!("k{}", self.keys),
        );
        ask(self.addr, user, (method, &path, &key), body).await
    }

    /// The same, of which only the code of the refusal matters.
    async fn code(&mut self, user: &str, method: &str, path: &str, body: Value) -> String {
        let (_, refusal) = self.tries(user, method, path, body).await;
        refusal["code"].as_str().unwrap_or("accepted").to_owned()
    }
}

/// Everything that a node tells the members of the conversation.
async fn visible_state(addr: SocketAddr, c: &str) -> Value {
    let mut all = json!({});
    for user in VIEWERS {
        for path in [
            "",
            "/messages?limit=100",
            "/events?limit=100",
            "/members?limit=100",
        ] {
            all[format!("{user} {path}")] = get(addr, user, &format!("/v1/conversations/{c}{path}")).await;
        }
        // A row is stale while its owner is silent.
        all[format!("{user} list")] = eventually("no row is stale", async || {
            let list = get(addr, user, "/v1/conversations?limit=100").await;
            let rows = list["items"].as_array()?;
            let fresh = rows.iter().all(|row| row["stale"] != true);
            (fresh && list["next"].is_null()).then_some(list)
        })
        .await;
        all[format!("{user} blocks")] = get(addr, user, "/v1/blocks").await;
    }
    all["bans"] = get(addr, "alice", &format!("/v1/conversations/{c}/bans")).await;
    all
}

async fn presence(addr: SocketAddr, of: &str) -> Value {
    get(addr, "alice", &format!("/v1/users/{of}/presence")).await
}

async fn auth(addr: SocketAddr, path: &str, body: Value) -> (u16, Value) {
    eventually("a login is answered", async || {
        let answer = exchange(addr, "POST", &format!("/v1/auth/{path}"), "", &body).await?;
        (!temporary(&answer.1)).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn state_outlives_its_owner_and_is_the_same_on_every_node() {
    // Without a grace, a replaced token that comes back is theft at once.
    let mut cluster = ProcessCluster::with(&[("tuning.refresh_grace", "0s")]).await;
    let c = cluster
        .made(json!({"kind":"group","title":"Lunch","members":["bob","carol","mallory","trent"]}))
        .await;
    let c = c.as_str();
    let (owner, [second, third]) = cluster.owner(c).await;
    let mut hand = Hand {
        addr: cluster.addr(owner),
        c,
        keys: 0,
    };
    let text = |text: &str| json!({ "b": { "text": text } });

    // Words, what became of them, and who answered.
    let first = hand.does("alice", "POST", "/messages", text("frist")).await;
    hand.does("alice", "PUT", &format!("/messages/{first}"), text("first"))
        .await;
    let wrong = hand.does("bob", "POST", "/messages", text("secret")).await;
    hand.does("bob", "DELETE", &format!("/messages/{wrong}"), Value::Null)
        .await;
    let like = format!("/messages/{first}/reactions/+1");
    hand.does("bob", "PUT", &like, Value::Null).await;
    hand.does("carol", "PUT", &like, Value::Null).await;
    hand.does("carol", "DELETE", &like, Value::Null).await;
    let answer = json!({"b":{"text":"@bob"},"reply_to":first,"mentions":["bob"]});
    hand.does("carol", "POST", "/messages", answer).await;
    // Roles, settings, and who has to leave.
    hand.does("alice", "PUT", "/members/bob", json!({"role":"admin"}))
        .await;
    hand.does("bob", "PATCH", "", json!({"title":"Dinner","history":"all"}))
        .await;
    hand.does("carol", "PATCH", "", json!({"muted":true,"pinned":true}))
        .await;
    hand.does("bob", "PUT", "/bans/trent", Value::Null).await;
    let (status, _) = ask(
        hand.addr,
        "bob",
        ("PUT", "/v1/users/mallory/block", ""),
        Value::Null,
    )
    .await;
    assert_eq!(status, 204);
    // How far each has come.
    let (bob_read, carol_has) = (json!({"s":first}), json!({"s":wrong}));
    hand.does("bob", "PUT", "/read", bob_read).await;
    hand.does("carol", "PUT", "/delivered", carol_has).await;

    // A login: the code is spent, and the first refresh token.
    let (status, asked) = auth(hand.addr, "otp", json!({"to":"+447700900123"})).await;
    assert_eq!(status, 202, "{asked}");
    let entered = json!({"challenge":asked["challenge"],"code":asked["dev_code"]});
    let (status, begun) = auth(hand.addr, "otp/verify", entered.clone()).await;
    assert_eq!(status, 200, "{begun}");
    let refresh = |tokens: &Value| json!({"refresh_token":tokens["refresh_token"]});
    let (status, renewed) = auth(hand.addr, "refresh", refresh(&begun)).await;
    assert_eq!(status, 200, "{renewed}");

    // Mallory listens at another node when she is put out, and the owner dies with the word of it. Zoe was there.
    let mut mallory = ReceivingClient::new("mallory", TestTransport::Socket, cluster.addr(second), c).await;
    let mut bob = ReceivingClient::new("bob", TestTransport::Socket, cluster.addr(third), c).await;
    let zoe = ReceivingClient::new("zoe", TestTransport::Socket, cluster.addr(second), c).await;
    eventually("zoe is seen", async || {
        (presence(cluster.addr(third), "zoe").await["state"] == "online").then_some(())
    })
    .await;
    drop(zoe);
    let zoe = eventually("zoe is gone", async || {
        let zoe = presence(cluster.addr(third), "zoe").await;
        (zoe["state"] == "offline").then_some(zoe)
    })
    .await;
    assert!(zoe["seen"].is_u64(), "{zoe}");
    let kick = hand
        .does("alice", "DELETE", "/members/mallory", Value::Null)
        .await;
    let before = visible_state(cluster.addr(second), c).await;
    cluster.kill(owner);

    // The next owner knows all of it, and both nodes tell it alike.
    hand.addr = cluster.addr(second);
    for at in [second, third] {
        assert_eq!(visible_state(cluster.addr(at), c).await, before);
        assert_eq!(presence(cluster.addr(at), "zoe").await["state"], "offline");
        assert_eq!(presence(cluster.addr(at), "bob").await["state"], "online");
    }
    let row = &before["bob list"]["items"][0];
    assert_eq!(
        (&row["unread"], &row["mentions"], &row["role"], &row["title"]),
        (&json!(1), &json!(1), &json!("admin"), &json!("Dinner")),
        "{row}"
    );
    let messages = &before["alice /messages?limit=100"]["items"];
    assert_eq!(
        (
            &messages[0]["b"]["text"],
            &messages[0]["reactions"],
            &messages[1]["deleted"]
        ),
        (&json!("first"), &json!({"+1":1}), &json!(true)),
        "{messages}"
    );
    assert!(!before.to_string().contains("secret"), "nobody gets the words");

    // It decides by it. Whoever was put out hears nothing more, and is heard by nobody.
    let says = json!({"b":{}});
    assert_eq!(
        hand.code("mallory", "POST", "/messages", says.clone()).await,
        "not_member"
    );
    assert_eq!(
        hand.code("trent", "POST", "/messages", says.clone()).await,
        "not_member"
    );
    assert_eq!(
        hand.code("bob", "PUT", "/members/trent", Value::Null).await,
        "conflict"
    );
    assert_eq!(
        hand.code("carol", "PUT", "/bans/bob", Value::Null).await,
        "forbidden"
    );
    let direct = ("POST", "/v1/users/bob/messages", "direct");
    let (_, refusal) = ask(cluster.addr(third), "mallory", direct, says).await;
    assert_eq!(refusal["code"], "forbidden", "{refusal}");
    let last = hand.does("alice", "POST", "/messages", text("without her")).await;
    bob.receives(last).await;
    assert_eq!(last, kick + 1, "nothing that was refused has a place");
    mallory.receives(kick).await;
    for command in [json!({"t":"hist","c":c}), json!({"t":"open","c":c})] {
        assert_eq!(mallory.ask(command).await["code"], "not_member");
    }
    let delta = mallory.ask(json!({"t":"sync","have":[[c,kick]]})).await;
    assert_eq!(delta["items"], json!([]));
    assert_eq!(mallory.last(), kick, "the removal is the last that she hears");

    // What was spent on the node that is dead is spent.
    let (status, _) = auth(cluster.addr(second), "otp/verify", entered).await;
    assert_eq!(status, 401);
    let (status, newest) = auth(cluster.addr(second), "refresh", refresh(&renewed)).await;
    assert_eq!(status, 200, "{newest}");
    let bearer = format!(
        "Authorization: Bearer {}\r\n",
        newest["access_token"].as_str().unwrap()
    );
    eventually("another node believes the token", async || {
        let list = ("GET", "/v1/conversations");
        let (status, _) = exchange(cluster.addr(third), list.0, list.1, &bearer, &Value::Null).await?;
        (status == 200).then_some(())
    })
    .await;
    let (status, _) = auth(cluster.addr(third), "refresh", refresh(&begun)).await;
    assert_eq!(status, 401, "two have had it");
    let (status, _) = auth(cluster.addr(second), "refresh", refresh(&newest)).await;
    assert_eq!(status, 401, "so the login is over, on every node");

    // All die at once, and come back with what they had.
    let before = visible_state(cluster.addr(third), c).await;
    cluster.restart().await;
    for at in 0..3 {
        cluster.kill(at);
    }
    cluster.restart().await;
    for at in 0..3 {
        assert_eq!(
            visible_state(cluster.addr(at), c).await,
            before,
            "node {}",
            at + 1
        );
    }
    cluster.end();
}
