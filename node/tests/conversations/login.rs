//! Logins over three nodes: whichever is asked, the log decides.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use cluster::NodeId;
use data_encoding::BASE32_NOPAD;
use node::testkit::{
    ChatTable, CommandError, Config, HumanDuration, KeyringCache, LoginService, ServiceCluster, ServiceNode,
    TokenVerifier, Tokens, WebhookMetrics, eventually,
};
use protocol::{ConversationId, ErrorCode};
use storage::ScanOrder;

const PHONE: &str = "+447700900123";

/// The logins of one node, and the tokens that it believes.
struct LoginNode {
    id: NodeId,
    login: LoginService,
    auth: TokenVerifier,
    arbiter: actix::Arbiter,
}

fn config() -> Config {
    let mut config = Config::default();
    config.auth.dev_tokens = true;
    config.login.codes_per_identifier = 4;
    config.login.codes_per_ip = 6;
    config
}

/// A desk on each node, each knowing the keys.
async fn login_nodes(cluster: &ServiceCluster) -> Vec<LoginNode> {
    let config = config();
    let mut login_nodes = Vec::new();
    for node in &cluster.nodes {
        let keys = Arc::new(KeyringCache::new(Duration::from_secs(60)));
        let leeway = config.tuning.token_leeway.0;
        let auth = TokenVerifier::open(&config.auth, leeway).unwrap();
        let auth = auth.believing(keys.clone(), &config.auth, leeway);
        let login = LoginService::new(
            &config,
            node.conversations.clone(),
            keys,
            WebhookMetrics::default(),
        );
        let login = login.unwrap();
        let arbiter = actix::Arbiter::new();
        arbiter.spawn(login.clone().keep());
        login_nodes.push(LoginNode {
            id: node.id,
            login,
            auth,
            arbiter,
        });
    }
    eventually("every node knows the keys", async || {
        login_nodes.iter().all(|node| published_keys(node) == 1)
    })
    .await;
    login_nodes
}

fn published_keys(node: &LoginNode) -> usize {
    node.login.jwks().0["keys"].as_array().unwrap().len()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// What the log calls the address of a challenge.
fn name_of(challenge: &str) -> ConversationId {
    let bytes = BASE32_NOPAD
        .decode(challenge.to_ascii_uppercase().as_bytes())
        .unwrap();
    let tag = BASE32_NOPAD.encode(&bytes[..16]).to_ascii_lowercase();
    ConversationId::parse(&format!("to_{tag}")).unwrap()
}

/// Asks again while the refusal is a temporary one, as a client does.
async fn until_answered<T>(mut ask: impl AsyncFnMut() -> Result<T, CommandError>) -> Result<T, CommandError> {
    let mut answer = None;
    eventually("an answer", async || {
        let got = ask().await;
        let passing = matches!(&got, Err(refusal) if refusal.code == ErrorCode::Unavailable);
        answer = Some(got);
        !passing
    })
    .await;
    answer.unwrap()
}

#[actix::test]
async fn login_code_works_on_every_node_and_survives_its_owner() {
    let mut cluster = ServiceCluster::start(3).await;
    let login_nodes = login_nodes(&cluster).await;
    let asked = login_nodes[0].login.ask(ip(1), PHONE).await.unwrap();
    let other = login_nodes[1].login.ask(ip(2), PHONE).await.unwrap();
    let code = other.code.clone().unwrap();
    let tokens = login_nodes[2]
        .login
        .verify(&other.challenge, &code)
        .await
        .unwrap();
    for node in &login_nodes {
        let identity = node.auth.check(&tokens.access).unwrap();
        assert_eq!(identity.user, tokens.user, "every node believes the token");
        let again = node.login.verify(&other.challenge, &code).await;
        assert_eq!(
            again.err().unwrap().code,
            ErrorCode::Unauthenticated,
            "it was used"
        );
    }

    // Wrong tries on all nodes, then the owner dies.
    let code = asked.code.clone().unwrap();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for node in &login_nodes {
        let tried = node.login.verify(&asked.challenge, wrong).await;
        assert_eq!(tried.err().unwrap().code, ErrorCode::Unauthenticated);
    }
    let owner = cluster.owner_and_others(&name_of(&asked.challenge)).0;
    cluster.crash(owner).await;
    let left: Vec<&LoginNode> = login_nodes.iter().filter(|node| node.id != owner).collect();
    let same = until_answered(async || left[0].login.verify(&asked.challenge, &code).await)
        .await
        .unwrap();
    assert_eq!(same.user, tokens.user, "one address is one user");

    // The refresh token of the other login: each use on another node.
    let mut line = tokens;
    for node in left.iter().cycle().take(4) {
        let next: Tokens = until_answered(async || node.login.refresh(&line.refresh).await)
            .await
            .unwrap();
        assert_eq!(next.user, line.user);
        line = next;
    }
    for node in login_nodes {
        node.arbiter.stop();
    }
    cluster.stop().await;
}

#[actix::test]
async fn login_code_survives_a_failure_behind_it() {
    // Shorter than a takeover, so that the node abandons requests meanwhile.
    let budget = Duration::from_millis(500);
    let mut cluster = ServiceCluster::with(3, |settings| settings.command_timeout = budget).await;
    let login_nodes = login_nodes(&cluster).await;
    // A user whose shard has another owner than that of the code, so that only the family cannot be opened.
    let mut chosen = None;
    for i in 0..64 {
        let (to, ip) = (format!("name{i}@example.org"), ip(40 + i));
        let login = &login_nodes[0].login;
        let first = until_answered(async || login.ask(ip, &to).await).await.unwrap();
        let code = first.code.clone().unwrap();
        let tokens = until_answered(async || login.verify(&first.challenge, &code).await);
        let tokens = tokens.await.unwrap();
        let of_code = cluster.owner_and_others(&name_of(&first.challenge)).0;
        let user = ConversationId::parse(tokens.user.as_str()).unwrap();
        let of_user = cluster.owner_and_others(&user).0;
        if of_code != of_user {
            chosen = Some((to, tokens.user, of_user));
            break;
        }
    }
    let (to, user, of_user) = chosen.expect("the shards have several owners");
    let node = login_nodes.iter().find(|node| node.id != of_user).unwrap();
    let asked = until_answered(async || node.login.ask(ip(1), &to).await)
        .await
        .unwrap();
    let code = asked.code.clone().unwrap();
    // Several requests fail until the shard has another owner, and none of them costs the code.
    cluster.crash(of_user).await;
    let tokens = until_answered(async || node.login.verify(&asked.challenge, &code).await);
    assert_eq!(tokens.await.unwrap().user, user);
    for node in login_nodes {
        node.arbiter.stop();
    }
    cluster.stop().await;
}

#[actix::test]
async fn limits_hold_whichever_nodes_are_asked() {
    let cluster = ServiceCluster::start(3).await;
    let login_nodes = login_nodes(&cluster).await;
    // Four per address, from as many IP addresses as one likes.
    for i in 0..4u8 {
        let node = &login_nodes[usize::from(i) % 3];
        node.login.ask(ip(10 + i), PHONE).await.unwrap();
    }
    for (i, node) in login_nodes.iter().enumerate() {
        let refused = node.login.ask(ip(20), PHONE).await.err().unwrap();
        assert_eq!(refused.code, ErrorCode::RateLimited, "node {i}");
        let wait = refused.retry_ms.unwrap();
        assert!((3_000_000..=3_600_000).contains(&wait), "{wait}");
    }
    // Six per IP address, for as many addresses as one likes; three of them were just refused.
    for (i, node) in login_nodes.iter().enumerate() {
        let to = format!("name{i}@example.org");
        node.login.ask(ip(20), &to).await.unwrap();
    }
    for node in &login_nodes {
        let refused = node.login.ask(ip(20), "last@example.org").await.err().unwrap();
        assert_eq!(refused.code, ErrorCode::RateLimited);
    }
    // Five wrong tries, wherever.
    let asked = login_nodes[0].login.ask(ip(30), "a@example.org").await.unwrap();
    let code = asked.code.unwrap();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for i in 0..5 {
        let tried = login_nodes[i % 3].login.verify(&asked.challenge, wrong).await;
        assert_eq!(tried.err().unwrap().code, ErrorCode::Unauthenticated);
    }
    let late = login_nodes[2].login.verify(&asked.challenge, &code).await;
    assert_eq!(late.err().unwrap().code, ErrorCode::Unauthenticated);
    for node in login_nodes {
        node.arbiter.stop();
    }
    cluster.stop().await;
}

#[actix::test]
async fn what_is_over_leaves_every_replica() {
    let cluster = ServiceCluster::with(3, |settings| settings.login_sweep = Duration::from_millis(200)).await;
    let mut short = config();
    short.tuning.code_window = HumanDuration::millis(1_000);
    short.tuning.code_ttl = HumanDuration::millis(1_000);
    let node = &cluster.nodes[0];
    let keys = Arc::new(KeyringCache::new(Duration::from_secs(60)));
    let login = LoginService::new(
        &short,
        node.conversations.clone(),
        keys,
        WebhookMetrics::default(),
    )
    .unwrap();
    let arbiter = actix::Arbiter::new();
    arbiter.spawn(login.clone().keep());
    let asked = until_answered(async || login.ask(ip(1), PHONE).await)
        .await
        .unwrap();
    let name = name_of(&asked.challenge);
    let rows = |of: &ServiceNode| {
        let state = of.cluster.state(of.cluster.shard_of(&name));
        let (from, to) = (&b"\x00"[..], &b"\x03"[..]);
        state
            .scan(
                ChatTable::UserIndex.of_store(),
                from..to,
                ScanOrder::Ascending,
                100,
            )
            .unwrap()
            .len()
    };
    eventually("the rows are on every replica, or gone already", async || {
        cluster.nodes.iter().all(|of| rows(of) >= 4) || cluster.nodes.iter().all(|of| rows(of) == 0)
    })
    .await;
    eventually("they are gone", async || {
        cluster.nodes.iter().all(|of| rows(of) == 0)
    })
    .await;
    arbiter.stop();
    cluster.stop().await;
}
