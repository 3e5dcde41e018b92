//! Who was somewhere when its node stood still: what is told there, and wherever the session goes on, is what a member
//! may hear, in the places that the log has.

use std::time::Duration;

use serde_json::{Value, json};

use node::testkit::{Client, ProcessCluster, ask, eventually, get};

/// Messages that are kept of a group.
const RETAINED: u64 = 5;
const ROUNDS: usize = 6;

/// A client that notes everything it is told of one conversation.
struct Noting {
    client: Client,
    user: &'static str,
    sid: String,
    n: u64,
    /// Each event, and each `resync`.
    events: Vec<Value>,
}

// === impl Noting ===

impl Noting {
    async fn connect(addr: std::net::SocketAddr, user: &'static str) -> Noting {
        let mut client = Client::connect(addr).await;
        let auth = json!({"t":"auth","id":1,"token":format!("dev:{user}"),"device":"phone"});
        let ready = client.ask(1, &auth.to_string()).await;
        let mut noting = Noting {
            client,
            user,
            sid: ready["sid"].as_str().unwrap().to_owned(),
            n: 0,
            events: Vec::new(),
        };
        // From here on it follows everything that its user is in.
        noting.ask(json!({"t":"sync","have":[]})).await;
        noting
    }

    async fn ask(&mut self, mut command: Value) -> Value {
        command["id"] = json!(7);
        self.client.send(&command.to_string()).await;
        loop {
            let message = self.client.json().await;
            if message["id"] == 7 {
                return message;
            }
            self.note(message);
        }
    }

    fn note(&mut self, message: Value) {
        if let Some(n) = message["n"].as_u64().filter(|_| message["t"] != "ready") {
            assert_eq!(n, self.n + 1, "{message}");
            self.n = n;
            self.events.push(message);
        }
    }

    /// Has messages sent until one of them is noted, and returns when it is. What was sent before the client's
    /// subscription stood is behind a jump.
    async fn receives_from(&mut self, cluster: &ProcessCluster, at: usize, c: &str, cid: &str) {
        let mut n = 0;
        eventually("a client receives from a conversation", async || {
            n += 1;
            says(cluster, at, c, &format!("{cid}-{n}")).await;
            self.ask(json!({"t":"hb"})).await;
            self.events.iter().any(|event| {
                let key = event["cid"].as_str();
                event["c"] == c && key.is_some_and(|key| key.starts_with(cid))
            })
        })
        .await;
    }

    /// Goes on at a node. The question is on its way when this returns.
    async fn comes_back(self, addr: std::net::SocketAddr) -> Noting {
        let mut client = Client::connect(addr).await;
        client.expect("hello").await;
        let resume = json!({"sid":self.sid,"n":self.n});
        let auth =
            json!({"t":"auth","id":1,"token":format!("dev:{}", self.user),"device":"phone","resume":resume});
        client.send(&auth.to_string()).await;
        Noting { client, ..self }
    }

    /// The places of the events, in the order in which they came; 0 is a `resync`.
    fn seqs(&self) -> Vec<u64> {
        let events = self.events.iter();
        let events = events.filter(|event| event["s"].is_u64() || event["t"] == "resync");
        events.map(|event| event["s"].as_u64().unwrap_or(0)).collect()
    }
}

async fn says(cluster: &ProcessCluster, at: usize, c: &str, key: &str) -> u64 {
    let path = format!("/v1/conversations/{c}/messages");
    let (status, ack) = ask(cluster.addr(at), "alice", ("POST", &path, key), json!({"b":{}})).await;
    assert!(status < 300, "{ack}");
    ack["s"].as_u64().unwrap()
}

/// Their node stands still while one of two is removed and the log lets go of what says so. Both go on at another node,
/// which asks the one that stood still for their sessions before that has caught up, or after.
#[tokio::test]
async fn a_resume_from_a_frozen_node_is_exact_and_for_members_only() {
    let most = RETAINED.to_string();
    let settings = [
        ("retention.group_max_messages", most.as_str()),
        ("retention.interval", "50ms"),
        ("tuning.transfer_timeout", "10s"),
    ];
    let cluster = ProcessCluster::with(&settings).await;
    let mut resumed = 0;
    for round in 0..ROUNDS {
        let make = format!("make{round}");
        let (_, made) = ask(
            cluster.addr(0),
            "alice",
            ("POST", "/v1/conversations", make.as_str()),
            json!({"kind":"group","members":["bob","carol"]}),
        )
        .await;
        let c = made["c"].as_str().unwrap();
        let (owner, [still, other]) = cluster.owner(c).await;
        let mut bob = Noting::connect(cluster.addr(still), "bob").await;
        let mut carol = Noting::connect(cluster.addr(still), "carol").await;
        for (client, name) in [(&mut bob, "bob"), (&mut carol, "carol")] {
            let cid = format!("seen{round}-{name}");
            client.receives_from(&cluster, owner, c, &cid).await;
        }

        cluster.suspend(still);
        let kick = format!("/v1/conversations/{c}/members/bob");
        let (status, kicked) = ask(
            cluster.addr(owner),
            "alice",
            ("DELETE", &kick, "kick"),
            Value::Null,
        )
        .await;
        assert_eq!(status, 200, "{kicked}");
        let kicked = kicked["s"].as_u64().unwrap();
        for n in 0..20 {
            says(&cluster, owner, c, &format!("m{n}")).await;
        }
        eventually("what is old goes", async || {
            let events = format!("/v1/conversations/{c}/events?after=1");
            let page = get(cluster.addr(owner), "alice", &events).await;
            (page["events"][0]["s"].as_u64()? > kicked).then_some(())
        })
        .await;
        let mut bob = bob.comes_back(cluster.addr(other)).await;
        let mut carol = carol.comes_back(cluster.addr(other)).await;
        // Whether the question or what was missed comes first is chance; mostly it is the question.
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.wake(still);
        let (b, k) = (bob.client.answer(1).await, carol.client.answer(1).await);
        if b["resumed"] != true || k["resumed"] != true {
            // The node was taken for lost.
            continue;
        }
        resumed += 1;
        // What was said before the subscription stood is behind a `resync`; what is said after it comes.
        carol
            .receives_from(&cluster, owner, c, &format!("end{round}"))
            .await;
        bob.ask(json!({"t":"hb"})).await;

        let seqs = carol.seqs();
        for pair in seqs.windows(2) {
            let follows = pair[1] == 0 || pair[0] == 0 || pair[1] == pair[0] + 1;
            assert!(follows, "a jump that nobody spoke of, or a double: {seqs:?}");
        }
        let above = bob.events.iter().filter(|event| event["c"] == c);
        let above: Vec<_> = above
            .filter(|event| event["s"].as_u64() > Some(kicked) || event["t"] == "receipt")
            .collect();
        assert!(above.is_empty(), "removed at {kicked}, and told {above:?}");
    }
    assert!(resumed > 0, "no session went on");
    cluster.end();
}
