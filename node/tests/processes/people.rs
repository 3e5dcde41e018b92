//! Who is there, who types, and who has logged in: said at one node, known at the others, also when one of them dies.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use node::testkit::{Client, Incoming, ProcessCluster, ask, eventually, exchange, get, temporary};

/// A socket of a user's device, started as this instance.
async fn device(addr: SocketAddr, token: &str, device: &str, instance: &str) -> Client {
    let mut client = Client::connect(addr).await;
    client.expect("hello").await;
    let auth = json!({"t":"auth","id":1,"token":token,"device":device,"instance":instance});
    let ready = client.ask(1, &auth.to_string()).await;
    assert_eq!(ready["t"], "ready", "{ready}");
    client
}

/// A socket that begins a session, or goes on with one, and is lost. Returns what it was told.
async fn resume(addr: SocketAddr, token: &str, device: &str, sid: Option<&Value>) -> Value {
    let mut client = Client::connect(addr).await;
    client.expect("hello").await;
    let mut auth = json!({"t":"auth","id":1,"token":token,"device":device,"instance":"i"});
    if let Some(sid) = sid {
        auth["resume"] = json!({"sid":sid,"n":0});
    }
    client.ask(1, &auth.to_string()).await
}

/// Somebody types, over REST, until it is seen: it is of the moment, and goes by whoever doesn't listen yet.
fn typing(addr: SocketAddr, user: &'static str, c: &str) -> JoinHandle<()> {
    let path = format!("/v1/conversations/{c}/typing");
    tokio::spawn(async move {
        loop {
            let (status, _) = ask(addr, user, ("POST", &path, ""), json!({"on":true})).await;
            assert_eq!(status, 204);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
}

async fn auth(addr: SocketAddr, path: &str, body: Value) -> (u16, Value) {
    eventually("a login is answered", async || {
        let answer = exchange(addr, "POST", &format!("/v1/auth/{path}"), "", &body).await?;
        (!temporary(&answer.1) || answer.0 == 429).then_some(answer)
    })
    .await
}

/// Asks for a code at one node, and enters it at another.
async fn log_in(asked_at: SocketAddr, entered_at: SocketAddr, to: &str) -> Value {
    let (status, asked) = auth(asked_at, "otp", json!({ "to": to })).await;
    assert_eq!(status, 202, "{asked}");
    let entered = json!({"challenge":asked["challenge"],"code":asked["dev_code"]});
    let (status, tokens) = auth(entered_at, "otp/verify", entered).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {value}"))
}

/// Waits until a node knows the keys that this token is signed with.
async fn believes(addr: SocketAddr, token: &str) {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    eventually("the token is believed", async || {
        let (status, _) = exchange(addr, "GET", "/v1/conversations", &bearer, &Value::Null).await?;
        (status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn presence_typing_and_logins_reach_all_nodes_despite_a_kill() {
    let mut cluster = ProcessCluster::with(&[
        ("tuning.presence_node_timeout", "2s"),
        ("tuning.typing_interval", "50ms"),
        ("tuning.login_requests_burst", "1000"),
    ])
    .await;
    let c = cluster
        .made(json!({"kind":"group","members":["bob","carol"]}))
        .await;
    let c = c.as_str();
    let (owner, [second, third]) = cluster.owner(c).await;
    let (here, there, gone) = (cluster.addr(second), cluster.addr(third), cluster.addr(owner));

    // Alice comes at a node, and Bob sees it at another. She types, and he sees it; she at hers sees nothing of it.
    let mut bob = device(here, "dev:bob", "phone", "i").await;
    bob.send(&json!({"t":"watch","users":["alice"]}).to_string())
        .await;
    assert_eq!(bob.expect("presence").await["state"], "offline");
    let mut alice = device(gone, "dev:alice", "phone", "i").await;
    assert_eq!(bob.expect("presence").await["state"], "online");
    let types = typing(there, "alice", c);
    let seen = bob.expect("typing").await;
    assert_eq!(
        (&seen["u"], &seen["c"], &seen["on"]),
        (&json!("alice"), &json!(c), &json!(true))
    );
    types.abort();
    alice.send(r#"{"t":"hb","id":9}"#).await;
    loop {
        let message = alice.json().await;
        assert_ne!(message["t"], "typing");
        if message["id"] == 9 {
            break;
        }
    }

    // What Carol does on her telephone shows on her tablet, at another node.
    let mut tablet = device(there, "dev:carol", "tablet", "i").await;
    let mut phone = device(here, "dev:carol", "phone", "first").await;
    // The tablet follows the conversation when it is told of something in it.
    let path = format!("/v1/conversations/{c}/messages");
    let (_, ack) = ask(here, "alice", ("POST", &path, "k1"), json!({"b":{}})).await;
    tablet.expect("msg").await;
    let read = json!({"t":"read","id":2,"c":c,"s":ack["s"]});
    assert_eq!(phone.ask(2, &read.to_string()).await["t"], "ok");
    loop {
        let receipt = tablet.expect("receipt").await;
        if receipt["u"] == "carol" && receipt["read"] == ack["s"] {
            break;
        }
    }
    let muted = json!({"t":"set","id":3,"c":c,"cid":"mute","muted":true});
    assert_eq!(phone.ask(3, &muted.to_string()).await["t"], "ack");
    assert_eq!(tablet.expect("conv").await["muted"], true);

    // One device has one connection: the same start of the app takes its place in silence, another one with a word.
    let mut again = device(there, "dev:carol", "phone", "first").await;
    assert_eq!(phone.closed().await.0, 1000);
    let mut other = device(gone, "dev:carol", "phone", "second").await;
    assert_eq!(again.closed().await.0, 4409);

    // A code is asked for at one node, entered at another, and its token is good at the third.
    let login = log_in(gone, here, "+447700900123").await;
    let token = text(&login, "access_token").to_owned();
    for addr in [here, there, gone] {
        believes(addr, &token).await;
    }

    // The node with Alice and the conversation dies. Bob is told that she is gone, and who types after that.
    cluster.kill(owner);
    for client in [&mut alice, &mut other] {
        while client.recv().await != Incoming::End {}
    }
    assert_eq!(bob.expect("presence").await["state"], "offline");
    let types = typing(there, "carol", c);
    assert_eq!(bob.expect("typing").await["u"], "carol");
    types.abort();
    let presence = get(there, "bob", "/v1/users/alice/presence").await;
    assert!(
        presence["state"] == "offline" && presence["seen"].is_u64(),
        "{presence}"
    );

    // The limit on codes holds for the address, whichever nodes are asked, also for what the dead one had counted.
    for n in 0..4 {
        let (status, asked) = auth([here, there][n % 2], "otp", json!({"to":"+447700900123"})).await;
        assert_eq!(status, 202, "{asked}");
    }
    for addr in [here, there] {
        let (status, refusal) = auth(addr, "otp", json!({"to":"+447700900123"})).await;
        assert_eq!(
            (status, &refusal["code"]),
            (429, &json!("rate_limited")),
            "{refusal}"
        );
    }
    // As do the tries of one code.
    let (_, asked) = auth(here, "otp", json!({"to":"dan@example.org"})).await;
    let right = text(&asked, "dev_code");
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for n in 0..5 {
        let entered = json!({"challenge":asked["challenge"],"code":wrong});
        assert_eq!(auth([here, there][n % 2], "otp/verify", entered).await.0, 401);
    }
    let entered = json!({"challenge":asked["challenge"],"code":right});
    assert_eq!(
        auth(there, "otp/verify", entered).await.0,
        401,
        "the code is void"
    );

    // A login is over on all nodes: for who is connected, for who would come back, and for who has its token.
    let (one, two) = (
        log_in(here, there, "+447700900124").await,
        log_in(there, here, "+447700900124").await,
    );
    let (stolen, good) = (text(&one, "access_token"), text(&two, "access_token"));
    let mut connected = device(there, stolen, "tablet", "i").await;
    let ready = resume(here, stolen, "phone", None).await;
    let ready = resume(there, stolen, "phone", Some(&ready["sid"])).await;
    assert_eq!(ready["resumed"], true, "{ready}");
    let leave = json!({"refresh_token":one["refresh_token"]});
    assert_eq!(auth(here, "logout", leave).await.0, 204);
    assert_eq!(connected.closed().await.0, 4403);
    let bearer = format!("Authorization: Bearer {stolen}\r\n");
    for addr in [here, there] {
        eventually("the token is refused", async || {
            let (status, _) = exchange(addr, "GET", "/v1/conversations", &bearer, &Value::Null).await?;
            (status == 401).then_some(())
        })
        .await;
    }
    let ready = resume(here, good, "phone", Some(&ready["sid"])).await;
    assert_eq!(
        (&ready["resumed"], &ready["why"]),
        (&json!(false), &json!("unknown")),
        "{ready}"
    );
    cluster.end();
}
