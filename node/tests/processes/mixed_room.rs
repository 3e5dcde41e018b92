//! One room with a member on each transport: what all see when nodes die, and when they are removed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use node::testkit::{ProcessCluster, SendingClient, ask};

use crate::room::{RoomMember, RoomTransport};

const MEMBERS: [(&str, RoomTransport); 6] = [
    ("bob", RoomTransport::Native),
    ("carol", RoomTransport::Stream),
    ("dave", RoomTransport::Poll),
    ("erin", RoomTransport::SocketIo),
    ("frank", RoomTransport::Cable),
    ("grace", RoomTransport::Mqtt),
];

async fn create(cluster: &ProcessCluster, key: &str) -> String {
    let users = MEMBERS.map(|(user, _)| user);
    let body = json!({"kind": "group", "members": users});
    let (_, made) = ask(cluster.addr(0), "alice", ("POST", "/v1/conversations", key), body).await;
    made["c"].as_str().unwrap().to_owned()
}

async fn say(cluster: &ProcessCluster, at: usize, c: &str, cid: &str) -> u64 {
    let path = format!("/v1/conversations/{c}/messages");
    let (status, ack) = ask(cluster.addr(at), "alice", ("POST", &path, cid), json!({"b": {}})).await;
    assert_eq!(status, 201, "{ack}");
    ack["s"].as_u64().unwrap()
}

/// Sends until every member follows the conversation. Returns the messages.
async fn until_all_follow(
    cluster: &ProcessCluster,
    members: &mut [RoomMember],
    c: &str,
    prefix: &'static str,
) -> Vec<(String, u64)> {
    let sender = SendingClient::start(cluster.addr(0), "alice", c, prefix);
    for member in members {
        member.follows(cluster, c).await;
    }
    sender.stop().await
}

/// Starts three nodes whose clients may be silent for as long as the test needs to start a node again.
async fn patient_cluster() -> ProcessCluster {
    ProcessCluster::with(&[("session.idle_timeout", "300s")]).await
}

/// Kills a node while alice sends through another one. The members that the node served continue at the others.
async fn kill_under_load(
    cluster: &mut ProcessCluster,
    members: &mut [RoomMember],
    c: &str,
    dying: usize,
    prefix: &'static str,
) -> Vec<(String, u64)> {
    let others = [(dying + 1) % 3, (dying + 2) % 3];
    let sender = SendingClient::start(cluster.addr(others[0]), "alice", c, prefix);
    sender.says(10).await;
    cluster.kill(dying);
    let served = members.iter_mut().filter(|member| member.at == dying);
    for (turn, member) in served.enumerate() {
        member.connect(cluster, others[turn % 2]).await;
    }
    sender.says(10).await;
    let sent = sender.stop().await;
    for member in members {
        member.receives(cluster, c, sent.last().unwrap().1).await;
    }
    sent
}

/// Checks that a member has each message once, at the position of its ack.
fn has_each_once(member: &RoomMember, c: &str, sent: &[(String, u64)]) {
    let mut places: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (s, event) in member.log(c) {
        if let Some(cid) = event["cid"].as_str() {
            places.entry(cid).or_default().push(*s);
        }
    }
    for (cid, s) in sent {
        let places = places.get(&**cid).map_or(&[][..], |places| places);
        assert_eq!(places, [*s], "{cid} at {} ({:?})", member.user, member.transport);
    }
}

/// The owner of the room dies, and then a node that serves members of three gateways. The owner serves two members itself.
#[tokio::test]
async fn members_of_all_transports_see_each_message_once() {
    let mut cluster = patient_cluster().await;
    let c = create(&cluster, "room").await;
    let (owner, [second, third]) = cluster.owner(&c).await;
    let mut members = Vec::new();
    // In the order of the members: both dying nodes serve clients of gateways.
    for ((user, transport), at) in MEMBERS
        .into_iter()
        .zip([owner, third, third, second, owner, second])
    {
        members.push(RoomMember::new(&cluster, user, transport, at, &[&*c]).await);
    }
    let mut sent = until_all_follow(&cluster, &mut members, &c, "begin").await;

    sent.extend(kill_under_load(&mut cluster, &mut members, &c, owner, "owner").await);
    cluster.restart().await;
    sent.extend(kill_under_load(&mut cluster, &mut members, &c, second, "gateway").await);

    let last = sent.last().unwrap().1;
    for member in &mut members {
        member.receives(&cluster, &c, last).await;
        has_each_once(member, &c, &sent);
    }
    let [first, others @ ..] = &members[..] else {
        panic!("no members")
    };
    for member in others {
        for (s, event) in member.log(&c) {
            let known = first.log(&c).get(s).unwrap_or(event);
            assert_eq!(known, event, "{} and {} at {s}", first.user, member.user);
        }
    }
    cluster.end();
}

/// Members are removed one after the other while alice sends. Another conversation, which they stay in, shows that each
/// connection has received everything before.
#[tokio::test]
async fn removal_is_the_last_event_on_every_transport() {
    let cluster = patient_cluster().await;
    let (c, stays) = (create(&cluster, "room").await, create(&cluster, "stays").await);
    let mut members = Vec::new();
    for (turn, (user, transport)) in MEMBERS.into_iter().enumerate() {
        members.push(RoomMember::new(&cluster, user, transport, turn % 3, &[&*c, &*stays]).await);
    }
    until_all_follow(&cluster, &mut members, &c, "room").await;
    until_all_follow(&cluster, &mut members, &stays, "stays").await;

    let sender = SendingClient::start(cluster.addr(0), "alice", &c, "during");
    let mut removals = Vec::new();
    for (user, _) in MEMBERS {
        sender.says(3).await;
        let (path, key) = (
            format!("/v1/conversations/{c}/members/{user}"),
            format!("kick-{user}"),
        );
        let (status, ack) = ask(cluster.addr(1), "alice", ("DELETE", &path, &key), Value::Null).await;
        assert_eq!(status, 200, "{ack}");
        removals.push(ack["s"].as_u64().unwrap());
    }
    sender.says(3).await;
    let sent = sender.stop().await;
    let behind = say(&cluster, 2, &stays, "behind").await;
    for (member, removal) in members.iter_mut().zip(removals) {
        assert_eq!(member.is_removed(&cluster, &c).await, removal, "{}", member.user);
        // Anything behind the removal fails as it comes.
        member.receives(&cluster, &stays, behind).await;
        let before: Vec<_> = sent.iter().filter(|(_, s)| *s < removal).cloned().collect();
        has_each_once(member, &c, &before);
        let last = member.log(&c).last_key_value().unwrap();
        assert_eq!(
            (last.0, &last.1["t"]),
            (&removal, &json!("member")),
            "{}",
            member.user
        );
    }
    cluster.end();
}
