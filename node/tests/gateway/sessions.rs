//! Who a session belongs to, from its first frame to the end of its token.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use node::testkit::{Client, HumanDuration, Incoming, Node, unix_ms};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A node that believes tokens with the secret, at once refused when they run out.
async fn strict() -> Node {
    Node::with(|config| {
        config.auth.dev_tokens = false;
        config.auth.secret.0 = SECRET.to_owned();
        config.tuning.token_leeway = HumanDuration::secs(0);
        config.server.admin_token.0 = "an-admin-token-of-tests".to_owned();
    })
    .await
}

/// A token that ends in so many seconds.
fn token(user: &str, seconds: i64) -> String {
    let now = (unix_ms() / 1_000) as i64;
    let claims = json!({ "sub": user, "exp": now + seconds });
    encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()).unwrap(),
    )
    .unwrap()
}

async fn auth(client: &mut Client, id: i64, token: &str) -> serde_json::Value {
    client
        .ask(id, &format!(r#"{{"t":"auth","id":{id},"token":"{token}"}}"#))
        .await
}

#[tokio::test]
async fn a_command_before_auth_is_refused_and_the_session_waits_on() {
    let node = Node::start().await;
    let mut client = Client::connect(node.addr()).await;
    let refused = client.ask(1, r#"{"t":"list","id":1}"#).await;
    assert_eq!(
        (&refused["code"], &refused["http"]),
        (&"unauthenticated".into(), &401.into())
    );
    assert_eq!(auth(&mut client, 2, "dev:alice").await["t"], "ready");
}

#[tokio::test]
async fn a_bad_token_is_refused_and_ends_the_connection() {
    let node = strict().await;
    for (token, code) in [
        ("nonsense".to_owned(), "unauthenticated"),
        ("dev:alice".to_owned(), "unauthenticated"),
        (token("alice", -5), "token_expired"),
        (token("not a user", 60), "unauthenticated"),
    ] {
        let mut client = Client::connect(node.addr()).await;
        assert_eq!(auth(&mut client, 1, &token).await["code"], code);
        assert_eq!(client.closed().await, (4401, String::new()));
        assert_eq!(client.recv().await, Incoming::End);
    }
}

#[tokio::test]
async fn a_session_ends_with_its_token_unless_it_is_renewed() {
    let node = strict().await;
    let mut forgetful = Client::connect(node.addr()).await;
    assert_eq!(auth(&mut forgetful, 1, &token("alice", 2)).await["t"], "ready");
    let mut careful = Client::connect(node.addr()).await;
    let first = auth(&mut careful, 1, &token("alice", 2)).await;
    let second = auth(&mut careful, 2, &token("alice", 600)).await;
    assert_eq!((&first["t"], &second["t"]), (&"ready".into(), &"ready".into()));
    assert_eq!((&first["sid"], &first["n"]), (&second["sid"], &second["n"]));

    let bye = forgetful.expect("bye").await;
    assert_eq!(bye["code"], 4201);
    assert_eq!(forgetful.closed().await.0, 4201);
    assert_eq!(careful.ask(3, r#"{"t":"hb","id":3}"#).await["t"], "hb");
}

#[tokio::test]
async fn another_users_token_does_not_take_over_a_session() {
    let node = strict().await;
    let mut client = Client::connect(node.addr()).await;
    auth(&mut client, 1, &token("alice", 600)).await;
    assert_eq!(
        auth(&mut client, 2, &token("bob", 600)).await["code"],
        "unauthenticated"
    );
    assert_eq!(client.closed().await.0, 4401);
}

#[tokio::test]
async fn a_resume_of_a_session_that_is_gone_says_so() {
    let node = Node::start().await;
    let mut client = Client::connect(node.addr()).await;
    let text = r#"{"t":"auth","id":1,"token":"dev:alice","resume":{"sid":"00","n":4}}"#;
    let ready = client.ask(1, text).await;
    assert_eq!(
        (&ready["resumed"], &ready["why"], &ready["n"]),
        (&false.into(), &"unknown".into(), &0.into())
    );
}
