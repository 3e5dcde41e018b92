//! Who may do what, over every transport: one table, and a case for each of its cells.

use node::testkit::{Call, Client, HumanDuration, Node};
use serde_json::{Value, json};

/// Done.
const OK: &str = "ok";
/// The answer to everybody who is no member, whether or not the conversation exists.
const OUT: &str = "not_member";

/// The operation, and what the owner, a member, an ex-member and a stranger are answered. The anonymous are always
/// `unauthenticated`.
const TABLE: [(&str, [&str; 4]); 22] = [
    ("send", [OK, OK, OUT, OUT]),
    ("edit another's", ["forbidden", "forbidden", OUT, OUT]),
    ("del another's", [OK, "forbidden", OUT, OUT]),
    ("react", [OK, OK, OUT, OUT]),
    ("take back another's reaction", [OK, "forbidden", OUT, OUT]),
    ("read", [OK, OK, OUT, OUT]),
    ("recv", [OK, OK, OUT, OUT]),
    ("open", [OK, OK, OUT, OUT]),
    ("hist", [OK, OK, OUT, OUT]),
    ("members", [OK, OK, OUT, OUT]),
    ("invite", [OK, "forbidden", OUT, OUT]),
    ("kick", [OK, "forbidden", OUT, OUT]),
    ("ban", [OK, "forbidden", OUT, OUT]),
    ("unban", ["not_found", "forbidden", OUT, OUT]),
    ("role", [OK, "forbidden", OUT, OUT]),
    ("role of oneself", ["conflict", "forbidden", OUT, OUT]),
    ("join", ["conflict", "conflict", OUT, OUT]),
    ("set title", [OK, "forbidden", OUT, OUT]),
    ("set mute", [OK, OK, OUT, OUT]),
    ("leave", [OK, OK, OUT, OUT]),
    ("list", [OK, OK, OK, OK]),
    ("sync", [OK, OK, OK, OK]),
];

/// Who does it, in the order of the columns.
const ACTORS: [&str; 4] = ["olga", "mia", "exa", "stu"];
/// The member who wrote the message and to whom things are done.
const OTHER: &str = "tom";

/// A group of the owner, a member and another, which an ex-member had to leave; in it a message of the other.
struct Scene {
    c: String,
    message: u64,
}

// === impl Scene ===

impl Scene {
    async fn new(node: &Node) -> Scene {
        let [owner, member, gone, _] = ACTORS;
        let c = group_of(node, owner, &[member, gone, OTHER]).await;
        let path = format!("/v1/conversations/{c}");
        let kick = Call::new("DELETE", &format!("{path}/members/{gone}"))
            .by(owner)
            .key("kick");
        kick.to(node).await.is(200);
        let send = Call::new("POST", &format!("{path}/messages")).by(OTHER).key("m");
        let sent = send
            .json(&json!({ "b": { "secret": "swordfish" } }))
            .to(node)
            .await
            .is(201);
        let message = sent["s"].as_u64().unwrap();
        Scene { c, message }
    }

    /// The operation as a command.
    fn command(&self, operation: &str, me: &str) -> Value {
        let (c, of) = (&self.c, self.message);
        let on = |t: &str, who: &str| json!({ "t": t, "c": c, "cid": "x", "who": who });
        match operation {
            "send" => json!({ "t": "send", "c": c, "cid": "x", "b": {} }),
            "edit another's" => json!({ "t": "edit", "c": c, "cid": "x", "of": of, "b": {} }),
            "del another's" => json!({ "t": "del", "c": c, "cid": "x", "of": of }),
            "react" => json!({ "t": "react", "c": c, "cid": "x", "of": of, "k": "+1", "on": true }),
            "take back another's reaction" => {
                json!({ "t": "react", "c": c, "cid": "x", "of": of, "k": "+1", "on": false, "who": OTHER })
            }
            "read" | "recv" => json!({ "t": operation, "c": c, "s": of }),
            "open" | "hist" | "members" => json!({ "t": operation, "c": c }),
            "invite" => on("invite", "new"),
            "kick" | "ban" | "unban" => on(operation, OTHER),
            "role" => json!({ "t": "role", "c": c, "cid": "x", "who": OTHER, "role": "admin" }),
            "role of oneself" => json!({ "t": "role", "c": c, "cid": "x", "who": me, "role": "owner" }),
            "join" | "leave" => json!({ "t": operation, "c": c, "cid": "x" }),
            "set title" => json!({ "t": "set", "c": c, "cid": "x", "title": "Mine" }),
            "set mute" => json!({ "t": "set", "c": c, "cid": "x", "muted": true }),
            "list" => json!({ "t": "list" }),
            "sync" => json!({ "t": "sync", "have": [[c, 0]] }),
            other => panic!("{other}"),
        }
    }

    /// The operation as a request; some have two that show the same.
    fn requests(&self, operation: &str, me: &str) -> Vec<(&'static str, String, Option<Value>)> {
        let c = format!("/v1/conversations/{}", self.c);
        let message = format!("{c}/messages/{}", self.message);
        let one = |method, path: String, body| vec![(method, path, body)];
        match operation {
            "send" => one("POST", format!("{c}/messages"), Some(json!({ "b": {} }))),
            "edit another's" => one("PUT", message, Some(json!({ "b": {} }))),
            "del another's" => one("DELETE", message, None),
            "react" => one("PUT", format!("{message}/reactions/+1"), None),
            "take back another's reaction" => {
                one("DELETE", format!("{message}/reactions/+1?who={OTHER}"), None)
            }
            "read" => one("PUT", format!("{c}/read"), Some(json!({ "s": self.message }))),
            "recv" => one(
                "PUT",
                format!("{c}/delivered"),
                Some(json!({ "s": self.message })),
            ),
            "open" => one("GET", c, None),
            "hist" => vec![
                ("GET", format!("{c}/events"), None),
                ("GET", format!("{c}/messages"), None),
            ],
            "members" => one("GET", format!("{c}/members"), None),
            "invite" => one("PUT", format!("{c}/members/new"), None),
            "kick" => one("DELETE", format!("{c}/members/{OTHER}"), None),
            "ban" => one("PUT", format!("{c}/bans/{OTHER}"), None),
            "unban" => one("DELETE", format!("{c}/bans/{OTHER}"), None),
            "role" => one(
                "PUT",
                format!("{c}/members/{OTHER}"),
                Some(json!({ "role": "admin" })),
            ),
            "role of oneself" => one(
                "PUT",
                format!("{c}/members/{me}"),
                Some(json!({ "role": "owner" })),
            ),
            "join" => one("PUT", format!("{c}/members/{me}"), None),
            "set title" => one("PATCH", c, Some(json!({ "title": "Mine" }))),
            "set mute" => one("PATCH", c, Some(json!({ "muted": true }))),
            "leave" => one("DELETE", format!("{c}/members/{me}"), None),
            "list" => one("GET", "/v1/conversations".to_owned(), None),
            "sync" => one(
                "POST",
                "/v1/sync".to_owned(),
                Some(json!({ "have": [[self.c, 0]] })),
            ),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn over_http_each_is_answered_as_the_table_says() {
    let node = node().await;
    for (operation, answers) in TABLE {
        for (actor, expected) in ACTORS.into_iter().zip(answers) {
            let scene = Scene::new(&node).await;
            for (method, path, body) in scene.requests(operation, actor) {
                let request = |call: Call| match &body {
                    Some(body) => call.key("x").json(body),
                    None => call.key("x"),
                };
                let anonymous_reply = request(Call::new(method, &path)).to(&node).await;
                anonymous_reply.is_problem(401, "unauthenticated");
                let reply = request(Call::new(method, &path).by(actor)).to(&node).await;
                let got = match reply.status {
                    200..300 => OK.to_owned(),
                    _ => reply.json()["code"].as_str().unwrap().to_owned(),
                };
                assert_eq!(got, expected, "{actor} {operation}: {method} {path}: {reply:?}");
                check_reveals_nothing(&scene, actor, operation, &reply.text);
            }
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn over_a_websocket_each_is_answered_as_the_table_says() {
    let node = node().await;
    for (operation, answers) in TABLE {
        for (actor, expected) in ACTORS.into_iter().zip(answers) {
            let scene = Scene::new(&node).await;
            let mut command = scene.command(operation, actor);
            command["id"] = json!(7);
            let mut anonymous = Client::connect(node.addr()).await;
            anonymous.expect("hello").await;
            let anonymous_reply = anonymous.ask(7, &command.to_string()).await;
            assert_eq!(
                anonymous_reply["code"], "unauthenticated",
                "{operation}: {anonymous_reply}"
            );
            let mut client = node.client(actor).await;
            let answer = client.ask(7, &command.to_string()).await;
            let got = answer["code"].as_str().unwrap_or(OK);
            assert_eq!(got, expected, "{actor} {operation}: {answer}");
            check_reveals_nothing(&scene, actor, operation, &answer.to_string());
        }
    }
    node.stop().await;
}

/// What isn't theirs is in no answer to those who are out. A list forgets a membership within seconds, not at once.
#[track_caller]
fn check_reveals_nothing(scene: &Scene, actor: &str, operation: &str, answer: &str) {
    if ACTORS[2..].contains(&actor) {
        assert!(!answer.contains("swordfish"), "{actor} {operation}: {answer}");
        let lags = operation == "list" && actor == ACTORS[2];
        assert!(
            lags || !answer.contains(&scene.c),
            "{actor} {operation}: {answer}"
        );
    }
}

async fn group_of(node: &Node, owner: &str, members: &[&str]) -> String {
    let key = ulid::Ulid::generate().to_string();
    let body = json!({ "kind": "group", "members": members });
    let make = Call::new("POST", "/v1/conversations")
        .by(owner)
        .key(&key)
        .json(&body);
    make.to(node).await.is(201)["c"].as_str().unwrap().to_owned()
}

/// A node that lets the few users of this test do as much as they like.
async fn node() -> Node {
    Node::with(|config| {
        config.tuning.auth_timeout = HumanDuration::millis(600_000);
        (config.limits.sends_per_second, config.tuning.sends_burst) = (10_000, Some(10_000));
        (config.limits.queries_per_second, config.tuning.queries_burst) = (10_000, Some(10_000));
        config.limits.additions_per_day = 0;
    })
    .await
}
