//! Logging in, staying so and logging out.

use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use node::testkit::{
    Call, Client, Config, HumanDuration, Node, PATIENCE, Reply, SecretString, TestCluster, eventually,
};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PHONE: &str = "+447700900123";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A node that knows its keys.
async fn node(change: impl FnOnce(&mut Config)) -> Node {
    let node = Node::with(change).await;
    eventually("keys are made", async || !kids(&node).await.is_empty()).await;
    node
}

async fn kids(node: &Node) -> Vec<String> {
    let set = Call::new("GET", "/.well-known/jwks.json").to(node).await.is(200);
    let keys = set["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn post(node: &Node, path: &str, body: Value) -> Reply {
    Call::new("POST", &format!("/v1/auth/{path}"))
        .json(&body)
        .to(node)
        .await
}

async fn ask(node: &Node, to: &str) -> Value {
    post(node, "otp", json!({ "to": to })).await.is(202)
}

async fn log_in(node: &Node, to: &str) -> Value {
    let asked = ask(node, to).await;
    let entered = json!({ "challenge": asked["challenge"], "code": asked["dev_code"] });
    post(node, "otp/verify", entered).await.is(200)
}

async fn refresh(node: &Node, token: &Value) -> Reply {
    post(node, "refresh", json!({ "refresh_token": token })).await
}

async fn status_with(node: &Node, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let call = Call::new("GET", "/v1/conversations").with("Authorization", &bearer);
    call.to(node).await.status
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {value}"))
}

#[tokio::test]
async fn a_code_gives_tokens_that_every_transport_believes() {
    let node = node(|_| ()).await;
    let reply = post(&node, "otp", json!({ "to": "+44 7700 900123" })).await;
    assert_eq!(reply.header("Cache-Control"), "no-store");
    let asked = reply.is(202);
    assert_eq!(asked["expires_in"], 300);
    let code = text(&asked, "dev_code");
    assert!(code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit()));
    let entered = json!({ "challenge": asked["challenge"], "code": code });
    let reply = post(&node, "otp/verify", entered.clone()).await;
    assert_eq!(reply.header("Cache-Control"), "no-store");
    let tokens = reply.is(200);
    assert_eq!(
        (&tokens["expires_in"], &tokens["token_type"]),
        (&json!(900), &json!("Bearer"))
    );
    let (access, user) = (text(&tokens, "access_token"), text(&tokens, "user"));
    assert!(user.starts_with("u_") && user.len() == 28, "{user}");
    assert_eq!(status_with(&node, access).await, 200);
    let mut client = Client::connect(node.addr()).await;
    client.expect("hello").await;
    client
        .send(&json!({ "t": "auth", "id": 1, "token": access }).to_string())
        .await;
    assert_eq!(client.expect("ready").await["user"], user);

    post(&node, "otp/verify", entered)
        .await
        .is_problem(401, "unauthenticated");
    // The same address is the same user; another is another.
    assert_eq!(text(&log_in(&node, PHONE).await, "user"), user);
    let mail = log_in(&node, "alice@EXAMPLE.org").await;
    assert_ne!(text(&mail, "user"), user);
    assert_eq!(mail["user"], log_in(&node, "alice@example.org").await["user"]);
}

#[tokio::test]
async fn an_access_token_is_verified_with_the_published_keys_alone() {
    let node = node(|config| config.auth.audience = "chat".to_owned()).await;
    let tokens = log_in(&node, PHONE).await;
    let access = text(&tokens, "access_token");
    let reply = Call::new("GET", "/.well-known/jwks.json").to(&node).await;
    assert!(reply.header("Cache-Control").starts_with("public, max-age="));
    let set: JwkSet = serde_json::from_str(&reply.text).unwrap();
    let header = decode_header(access).unwrap();
    assert_eq!(header.alg, Algorithm::EdDSA);
    let key = DecodingKey::from_jwk(set.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&["rookery"]);
    validation.set_audience(&["chat"]);
    let claims = decode::<Value>(access, &key, &validation).unwrap().claims;
    assert_eq!(claims["sub"], tokens["user"]);
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        900
    );
}

#[tokio::test]
async fn whatever_is_wrong_with_a_code_is_answered_alike() {
    let node = node(|_| ()).await;
    let asked = ask(&node, PHONE).await;
    let code = text(&asked, "dev_code");
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let mut made_up = text(&asked, "challenge").to_owned();
    let first = if made_up.starts_with('a') { "b" } else { "a" };
    made_up.replace_range(..1, first);
    let mut bodies = Vec::new();
    for (challenge, code) in [
        (text(&asked, "challenge"), wrong),
        (&*made_up, code),
        ("nonsense", code),
        ("", code),
    ] {
        let reply = post(
            &node,
            "otp/verify",
            json!({ "challenge": challenge, "code": code }),
        )
        .await;
        bodies.push(reply.is_problem(401, "unauthenticated"));
    }
    for _ in 0..4 {
        let reply = post(
            &node,
            "otp/verify",
            json!({ "challenge": asked["challenge"], "code": wrong }),
        )
        .await;
        bodies.push(reply.is_problem(401, "unauthenticated"));
    }
    // The right one, after five wrong ones.
    let reply = post(
        &node,
        "otp/verify",
        json!({ "challenge": asked["challenge"], "code": code }),
    )
    .await;
    bodies.push(reply.is_problem(401, "unauthenticated"));
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    for malformed in ["", "12345", "1234567", "12345x", "１２３４５６"] {
        let body = json!({ "challenge": asked["challenge"], "code": malformed });
        post(&node, "otp/verify", body)
            .await
            .is_problem(400, "bad_request");
    }
    for to in ["", "447700900123", "+0", "a@b", "a@b.c\r\nBcc: x@y.z"] {
        post(&node, "otp", json!({ "to": to }))
            .await
            .is_problem(400, "bad_request");
    }
}

/// What an answer shows: its status, its headers, and its body with every drawn value replaced by its length. What
/// depends on the moment is left out.
fn shape(reply: &Reply) -> (u16, Vec<String>, Value) {
    let headers = reply.head.lines().skip(1).map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_lowercase().as_str() {
            name @ ("date" | "x-request-id" | "retry-after") => name.to_owned(),
            name => {
                // Lists are in no order.
                let mut values: Vec<&str> = value.split(", ").collect();
                values.sort_unstable();
                format!("{name}: {}", values.join(", "))
            }
        }
    });
    let mut headers: Vec<String> = headers.collect();
    headers.sort();
    let mut body = reply.json();
    for field in ["challenge", "dev_code", "retry_ms"] {
        if let Some(value) = body.get_mut(field) {
            *value = json!(value.as_str().map_or(0, str::len));
        }
    }
    (reply.status, headers, body)
}

#[tokio::test]
async fn code_request_does_not_reveal_an_account() {
    let node = node(|config| config.login.codes_per_identifier = 2).await;
    let known = ["+447700900123", "alice@example.org"];
    let unknown = ["+447700900124", "carol@example.org"];
    for to in known {
        // A user who was here, who is here, and who has talked.
        let tokens = log_in(&node, to).await;
        let bearer = format!("Bearer {}", text(&tokens, "access_token"));
        let send = Call::new("POST", "/v1/users/bob/messages").with("Authorization", &bearer);
        send.key("k").json(&json!({ "b": {} })).to(&node).await.is(201);
    }
    for to in unknown {
        // As many codes, and nobody came.
        ask(&node, to).await;
    }
    let otp = async |to: &str| post(&node, "otp", json!({ "to": to })).await;
    let wrong = async |asked: &Value| {
        let code = if asked["dev_code"] == "000000" {
            "000001"
        } else {
            "000000"
        };
        let entered = json!({ "challenge": asked["challenge"], "code": code });
        post(&node, "otp/verify", entered).await
    };
    for (known, unknown) in known.into_iter().zip(unknown) {
        // A code is asked for, a wrong one is entered, and one code too many is asked for.
        let replies = [otp(known).await, otp(unknown).await];
        assert_eq!(replies[0].status, 202);
        let entered = [wrong(&replies[0].json()).await, wrong(&replies[1].json()).await];
        assert_eq!(entered[0].status, 401);
        let refused = [otp(known).await, otp(unknown).await];
        assert_eq!(refused[0].status, 429);
        for [known, unknown] in [&replies, &entered, &refused] {
            assert_eq!(shape(known), shape(unknown));
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn codes_are_limited_per_identifier_and_ip_with_a_delay() {
    let node = node(|config| {
        config.login.codes_per_identifier = 2;
        config.login.codes_per_ip = 4;
        config.tuning.login_requests_burst = 1_000;
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let from = async |ip: &str, to: &str| {
        let call = Call::new("POST", "/v1/auth/otp").with("X-Forwarded-For", ip);
        call.json(&json!({ "to": to })).to(&node).await
    };
    from("192.0.2.1", PHONE).await.is(202);
    from("192.0.2.2", PHONE).await.is(202);
    let reply = from("192.0.2.3", PHONE).await;
    let problem = reply.is_problem(429, "rate_limited");
    let seconds: u64 = reply.header("Retry-After").parse().unwrap();
    assert!((3_000..=3_600).contains(&seconds), "{seconds}");
    assert_eq!(problem["retry_ms"].as_u64().unwrap().div_ceil(1_000), seconds);
    // A stranger's address that is over its limit looks as one's own does, and one that is not looks as any other.
    for i in 0..4 {
        from("192.0.2.4", &format!("name{i}@example.org")).await.is(202);
    }
    from("192.0.2.4", "last@example.org")
        .await
        .is_problem(429, "rate_limited");
    from("192.0.2.5", "last@example.org").await.is(202);
}

#[tokio::test]
async fn one_ip_address_can_not_make_the_log_work_without_end() {
    let node = node(|config| {
        config.tuning.login_requests_per_second = 1;
        config.tuning.login_requests_burst = 3;
    })
    .await;
    let mut refused = None;
    for _ in 0..8 {
        let reply = refresh(&node, &json!("rt_nonsense")).await;
        if reply.status == 429 {
            refused = Some(reply);
            break;
        }
        reply.is_problem(401, "unauthenticated");
    }
    let refused = refused.expect("eight requests at once are too many");
    assert!(refused.header("Retry-After").parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_its_reuse_ends_the_login() {
    let node = node(|config| {
        config.tuning.refresh_grace = HumanDuration::millis(0);
        config.tuning.login_requests_burst = 1_000;
    })
    .await;
    let first = log_in(&node, PHONE).await;
    let second = refresh(&node, &first["refresh_token"]).await.is(200);
    assert_eq!(second["user"], first["user"]);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_eq!(status_with(&node, text(&second, "access_token")).await, 200);
    let other = log_in(&node, PHONE).await;
    refresh(&node, &first["refresh_token"])
        .await
        .is_problem(401, "unauthenticated");
    // Whoever has the newest one has lost it too, and nobody else has.
    refresh(&node, &second["refresh_token"])
        .await
        .is_problem(401, "unauthenticated");
    refresh(&node, &other["refresh_token"]).await.is(200);
    refresh(&node, &other["access_token"])
        .await
        .is_problem(401, "unauthenticated");
    node.figure_reaches(r#"rookery_login_steps_total{step="refresh",outcome="reused"}"#, 1)
        .await;
}

#[tokio::test]
async fn a_client_that_never_got_the_answer_may_ask_again() {
    let node = node(|_| ()).await;
    let first = log_in(&node, PHONE).await;
    let _lost = refresh(&node, &first["refresh_token"]).await.is(200);
    let second = refresh(&node, &first["refresh_token"]).await.is(200);
    refresh(&node, &second["refresh_token"]).await.is(200);
}

#[tokio::test]
async fn two_tabs_that_refresh_at_once_both_stay_logged_in() {
    let node = node(|config| config.tuning.login_requests_burst = 1_000).await;
    let first = log_in(&node, PHONE).await;
    let shared = &first["refresh_token"];
    let (one, other) = tokio::join!(refresh(&node, shared), refresh(&node, shared));
    let mut tabs = [one.is(200), other.is(200)];
    for _ in 0..3 {
        for tab in &mut tabs {
            *tab = refresh(&node, &tab["refresh_token"]).await.is(200);
            assert_eq!(status_with(&node, text(tab, "access_token")).await, 200);
        }
    }
}

#[tokio::test]
async fn a_logout_ends_one_login_or_all_of_them() {
    let node = node(|_| ()).await;
    let logins = [
        log_in(&node, PHONE).await,
        log_in(&node, PHONE).await,
        log_in(&node, PHONE).await,
    ];
    let other_login = log_in(&node, "a@example.org").await;
    let leave = async |token: &Value, all_devices: bool| {
        let body = json!({ "refresh_token": token, "everywhere": all_devices });
        post(&node, "logout", body).await.is(204);
    };
    leave(&logins[0]["refresh_token"], false).await;
    leave(&logins[0]["refresh_token"], false).await;
    refresh(&node, &logins[0]["refresh_token"])
        .await
        .is_problem(401, "unauthenticated");
    let next = refresh(&node, &logins[1]["refresh_token"]).await.is(200);
    leave(&json!("nonsense"), true).await;
    leave(&next["refresh_token"], true).await;
    refresh(&node, &next["refresh_token"])
        .await
        .is_problem(401, "unauthenticated");
    refresh(&node, &logins[2]["refresh_token"])
        .await
        .is_problem(401, "unauthenticated");
    refresh(&node, &other_login["refresh_token"]).await.is(200);
}

#[tokio::test]
async fn logout_closes_only_the_sessions_of_its_login_on_every_node() {
    let cluster = TestCluster::with(|config| config.tuning.refresh_grace = HumanDuration::millis(0)).await;
    for node in &cluster.nodes {
        eventually("keys are known", async || !kids(node).await.is_empty()).await;
    }
    let [first, second, third] = &cluster.nodes[..] else {
        unreachable!("three nodes")
    };
    let connect = async |node: &Node, token: &str| {
        let mut client = Client::connect(node.addr()).await;
        client.expect("hello").await;
        let auth = json!({ "t": "auth", "id": 1, "token": token });
        client.send(&auth.to_string()).await;
        client.expect("ready").await;
        client
    };
    let alive = async |client: &mut Client| {
        client.send(r#"{"t":"hb"}"#).await;
        client.expect("hb").await;
    };
    let (one, other) = (log_in(first, PHONE).await, log_in(second, PHONE).await);
    let other_login = log_in(third, "a@example.org").await;
    let mut ended = Vec::new();
    for node in [second, third] {
        ended.push(connect(node, text(&one, "access_token")).await);
    }
    let mut remaining = connect(third, text(&other, "access_token")).await;
    let mut strange = connect(third, text(&other_login, "access_token")).await;
    let mut outside = connect(third, &format!("dev:{}", text(&one, "user"))).await;
    // One that listens by events, and one whose token was renewed: a session is of the login that it showed last.
    let mut listening = listen(third, text(&one, "access_token")).await;
    let mut renewed = connect(second, text(&one, "access_token")).await;
    let again = json!({ "t": "auth", "id": 2, "token": text(&other, "access_token") });
    renewed.send(&again.to_string()).await;
    renewed.expect("ready").await;

    let leave = json!({ "refresh_token": one["refresh_token"] });
    post(first, "logout", leave).await.is(204);
    for mut client in ended {
        assert_eq!(client.closed().await.0, 4403);
    }
    ends_with(&mut listening, r#"data: {"code":4403,"#).await;
    for client in [&mut remaining, &mut strange, &mut outside, &mut renewed] {
        alive(client).await;
    }

    // A token that comes back after it was replaced ends its login the same way.
    let next = refresh(second, &other_login["refresh_token"]).await.is(200);
    let newest = refresh(first, &next["refresh_token"]).await.is(200);
    refresh(third, &other_login["refresh_token"])
        .await
        .is_problem(401, "unauthenticated");
    assert_eq!(strange.closed().await.0, 4403);
    refresh(first, &newest["refresh_token"])
        .await
        .is_problem(401, "unauthenticated");

    let leave = json!({ "refresh_token": other["refresh_token"], "everywhere": true });
    post(first, "logout", leave).await.is(204);
    for mut client in [remaining, renewed] {
        assert_eq!(client.closed().await.0, 4403);
    }
    alive(&mut outside).await;
    cluster.stop().await;
}

#[tokio::test]
async fn logout_ends_detached_sessions_and_tokens_on_every_node() {
    let cluster = TestCluster::with(|config| config.tuning.refresh_grace = HumanDuration::millis(0)).await;
    let [first, second, third] = &cluster.nodes[..] else {
        unreachable!("three nodes")
    };
    let reaches = async |node: &Node, token: &str, status: u16| {
        let reached = async {
            while status_with(node, token).await != status {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.unwrap_or_else(|_| panic!("waited in vain for {status}"));
    };
    // A session of a device, begun or gone on with; its connection is lost at once.
    let visit = async |node: &Node, token: &str, device: &str, sid: Option<&Value>| {
        let mut client = Client::connect(node.addr()).await;
        client.expect("hello").await;
        let mut auth = json!({ "t": "auth", "id": 1, "token": token, "device": device });
        if let Some(sid) = sid {
            auth["resume"] = json!({ "sid": sid, "n": 0 });
        }
        client.ask(1, &auth.to_string()).await
    };
    let ways = |ready: &Value| (ready["resumed"].clone(), ready["why"].clone());
    let (on, unknown) = ((json!(true), Value::Null), (json!(false), json!("unknown")));
    let poll = async |node: &Node, token: &str, sid: &Value| {
        let query = match sid.as_str() {
            Some(sid) => format!("&sid={sid}&after=0&wait=0"),
            None => String::new(),
        };
        let call = Call::new("GET", &format!("/v1/poll?device=poll{query}"));
        let bearer = format!("Bearer {token}");
        call.with("Authorization", &bearer).to(node).await.is(200)
    };
    for node in &cluster.nodes {
        eventually("keys are known", async || !kids(node).await.is_empty()).await;
    }
    let (one, two) = (log_in(first, PHONE).await, log_in(second, PHONE).await);
    let (stolen, good) = (text(&one, "access_token"), text(&two, "access_token"));

    // Of one login: a session that waits, one that was lent to another node and waits there too, one that is fetched.
    let waits = visit(second, stolen, "phone", None).await;
    let copied = visit(second, stolen, "tablet", None).await;
    let copy = visit(third, stolen, "tablet", Some(&copied["sid"])).await;
    assert_eq!(ways(&copy), on, "{copy}");
    let fetched = poll(third, stolen, &Value::Null).await;
    // Of another login of the same user.
    let remaining = visit(third, good, "laptop", None).await;

    let leave = json!({ "refresh_token": one["refresh_token"] });
    post(first, "logout", leave).await.is(204);
    for node in &cluster.nodes {
        reaches(node, stolen, 401).await;
        let refusal = visit(node, stolen, "phone", Some(&waits["sid"])).await;
        assert_eq!(refusal["code"], "unauthenticated", "{refusal}");
    }
    // Nor does the user's other login get them.
    for (node, device, session) in [
        (first, "phone", &waits),
        (second, "phone", &waits),
        (first, "tablet", &copied),
        (second, "tablet", &copy),
    ] {
        let ready = visit(node, good, device, Some(&session["sid"])).await;
        assert_eq!(ways(&ready), unknown, "{ready}");
    }
    let ready = poll(first, good, &fetched["sid"]).await;
    assert_eq!(ways(&ready), unknown, "{ready}");
    let ready = visit(first, good, "laptop", Some(&remaining["sid"])).await;
    assert_eq!(ways(&ready), on, "{ready}");

    // A token that comes back after it was replaced, and all logins at once, do the same.
    let three = log_in(third, PHONE).await;
    let waits = visit(third, text(&three, "access_token"), "watch", None).await;
    let next = refresh(second, &three["refresh_token"]).await.is(200);
    refresh(first, &next["refresh_token"]).await.is(200);
    refresh(first, &three["refresh_token"])
        .await
        .is_problem(401, "unauthenticated");
    for node in &cluster.nodes {
        reaches(node, text(&next, "access_token"), 401).await;
    }
    let ready = visit(second, good, "watch", Some(&waits["sid"])).await;
    assert_eq!(ways(&ready), unknown, "{ready}");
    let waits = visit(third, good, "laptop", Some(&ready["sid"])).await;
    let leave = json!({ "refresh_token": two["refresh_token"], "everywhere": true });
    post(second, "logout", leave).await.is(204);
    for node in &cluster.nodes {
        reaches(node, good, 401).await;
    }
    // Whoever logs in after that is let in, and begins anew.
    let four = log_in(first, PHONE).await;
    let ready = visit(second, text(&four, "access_token"), "laptop", Some(&waits["sid"])).await;
    assert_eq!(ways(&ready), unknown, "{ready}");
    cluster.stop().await;
}

/// A stream of events that has begun.
async fn listen(node: &Node, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!("GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    ends_with(&mut stream, "event: ready").await;
    stream
}

/// Reads until this has come.
async fn ends_with(stream: &mut TcpStream, wanted: &str) {
    let read = async {
        let mut received = Vec::new();
        while !String::from_utf8_lossy(&received).contains(wanted) {
            assert!(
                stream.read_buf(&mut received).await.unwrap() > 0,
                "{wanted}: {received:?}"
            );
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect(wanted);
}

#[tokio::test]
async fn old_key_tokens_are_accepted_until_expiry_after_rotation() {
    let node = node(|config| {
        config.tuning.key_poll_interval = HumanDuration::millis(100);
        config.tuning.key_overlap = HumanDuration::millis(1_000);
        config.tuning.key_period = HumanDuration::millis(2_000);
        config.tuning.login_requests_per_second = 1_000;
        config.tuning.login_requests_burst = 1_000;
    })
    .await;
    let kid = |tokens: &Value| decode_header(text(tokens, "access_token")).unwrap().kid.unwrap();
    let first = log_in(&node, PHONE).await;
    let turned = async {
        let mut latest = first.clone();
        while kid(&latest) == kid(&first) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            latest = refresh(&node, &latest["refresh_token"]).await.is(200);
        }
        latest
    };
    let latest = tokio::time::timeout(PATIENCE, turned)
        .await
        .expect("another key signs");
    let published = kids(&node).await;
    assert!(
        published.contains(&kid(&first)) && published.contains(&kid(&latest)),
        "{published:?}"
    );
    for tokens in [&first, &latest] {
        assert_eq!(status_with(&node, text(tokens, "access_token")).await, 200);
    }
}

#[tokio::test]
async fn only_the_webhook_delivers_the_code() {
    let hook = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/codes", hook.local_addr().unwrap());
    let got = Arc::new(Mutex::new(Vec::new()));
    let taken = got.clone();
    let receiver = tokio::spawn(async move {
        // The first time it fails, the last time it refuses.
        for status in ["500 Oops", "204 No Content", "400 No"] {
            let (mut stream, _) = hook.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
            }
            taken.lock().unwrap().push(String::from_utf8(request).unwrap());
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    // As in production: no development tokens.
    let node = node(|config| {
        config.auth.dev_tokens = false;
        config.login.webhook_url = url;
        config.login.webhook_secret = SecretString(SECRET.to_owned());
    })
    .await;
    let asked = ask(&node, "+44 7700 900123").await;
    assert!(asked.get("dev_code").is_none(), "{asked}");
    let requests = got.lock().unwrap().clone();
    assert_eq!(requests.len(), 2, "once more after the failure");
    let (head, body) = requests[1].split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name} in {head}"))
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64.decode(&SECRET.as_bytes()[6..]).unwrap()).unwrap();
    mac.update(format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp")).as_bytes());
    let signature = BASE64.encode(&mac.finalize().into_bytes());
    assert_eq!(header("webhook-signature"), format!("v1,{signature}"));
    let posted: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (
            &posted["type"],
            &posted["to"],
            &posted["channel"],
            &posted["expires_in"]
        ),
        (&json!("login.code"), &json!(PHONE), &json!("sms"), &json!(300))
    );
    assert!(
        !body.contains(text(&asked, "challenge")),
        "who delivers the code can't use it"
    );
    let entered = json!({ "challenge": asked["challenge"], "code": posted["code"] });
    let tokens = post(&node, "otp/verify", entered).await.is(200);
    assert_eq!(status_with(&node, text(&tokens, "access_token")).await, 200);
    assert_eq!(status_with(&node, "dev:alice").await, 401);

    let reply = post(&node, "otp", json!({ "to": "a@example.org" })).await;
    reply.is_problem(503, "unavailable");
    assert!(!reply.header("Retry-After").is_empty());
    receiver.await.unwrap();
}

#[tokio::test]
async fn without_a_delivery_there_is_no_login_by_code() {
    let node = Node::with(|config| {
        config.auth.dev_tokens = false;
        config.auth.secret = SecretString("0123456789abcdef0123456789abcdef".to_owned());
    })
    .await;
    post(&node, "otp", json!({ "to": PHONE }))
        .await
        .is_problem(404, "not_found");
    refresh(&node, &json!("rt_x")).await.is_problem(404, "not_found");
    assert!(kids(&node).await.is_empty());
}

#[tokio::test]
async fn a_token_in_a_url_is_no_token() {
    let node = node(|_| ()).await;
    let tokens = log_in(&node, PHONE).await;
    for name in ["token", "access_token", "authorization"] {
        let path = format!("/v1/conversations?{name}={}", text(&tokens, "access_token"));
        Call::new("GET", &path)
            .to(&node)
            .await
            .is_problem(401, "unauthenticated");
    }
}
