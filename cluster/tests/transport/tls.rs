//! TLS between nodes over TCP: certificates on both sides, and the change of a cluster to it.

use bytes::Bytes;
use cluster::NodeId;
use cluster::transport::{
    CertificateError, ConnectionClass, Error, NodeCertificates, PeerTls, TcpTransport, Transport,
    TransportConfig, certificate_name,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::hostile::LogBuffer;
use crate::node::{ECHO, PATIENCE, TestNode, mesh, quick, tcp_node, until};

/// Authority that issues the certificates of nodes.
struct TestAuthority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Files of a node: authorities, certificate and key.
type NodeFiles = (String, String, String);

// === impl TestAuthority ===

impl TestAuthority {
    fn new() -> TestAuthority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        TestAuthority { certificate, issuer }
    }

    /// Issues a certificate for one node.
    fn files(&self, node: u64) -> NodeFiles {
        let key = KeyPair::generate().unwrap();
        let names = [0, node].map(|node| certificate_name(NodeId(node)));
        let mut params = CertificateParams::new(names.to_vec()).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        (self.certificate.clone(), certificate, key.serialize_pem())
    }

    fn certificates(&self, node: u64) -> NodeCertificates {
        let (authorities, certificate, key) = self.files(node);
        load(&authorities, &certificate, &key).unwrap()
    }

    /// Returns the settings of a node whose certificate is for `node`.
    fn config(&self, node: u64, required: bool) -> TransportConfig {
        TransportConfig {
            tls: Some(PeerTls::new(self.certificates(node), required)),
            ..quick()
        }
    }
}

fn load(authorities: &str, certificate: &str, key: &str) -> Result<NodeCertificates, CertificateError> {
    NodeCertificates::from_pem(authorities.as_bytes(), certificate.as_bytes(), key.as_bytes())
}

/// Calls from one node to another, with bodies of several sizes.
async fn calls(from: &TestNode<TcpTransport>, to: &TestNode<TcpTransport>) {
    for size in [0, 1, 20_000, 3 << 20] {
        let body = Bytes::from(vec![size as u8; size]);
        let answer = from
            .transport
            .call(to.id, ConnectionClass::Raft, ECHO, body.clone(), PATIENCE);
        assert_eq!(answer.await, Ok(body));
    }
}

fn unencrypted(node: &TestNode<TcpTransport>) -> u64 {
    let mut registry = prometheus_client::registry::Registry::default();
    node.transport.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("transport_unencrypted_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_certificates_exchange_bodies_of_every_size() {
    let authority = TestAuthority::new();
    let nodes = [
        tcp_node(1, authority.config(1, true)).await,
        tcp_node(2, authority.config(2, true)).await,
        tcp_node(3, authority.config(3, true)).await,
    ];
    mesh(&nodes.each_ref()).await;
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.id != from.id) {
            calls(from, to).await;
        }
        assert_eq!(unencrypted(from), 0);
    }
}

#[tokio::test]
async fn certificate_of_another_authority_is_refused() {
    let log = LogBuffer::default();
    let _guard = log.collect();
    // Neither side requires TLS: a refused certificate must not end in a connection without it. Both authorities have one
    // name, so it is the signature that does not fit.
    let one = tcp_node(1, TestAuthority::new().config(1, false)).await;
    let two = tcp_node(2, TestAuthority::new().config(2, false)).await;
    one.transport.set_peers(vec![(NodeId(2), two.addr())]);
    until("it was said", || log.lines("BadSignature") > 0).await;
    // Several more attempts on four connections.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(log.lines("BadSignature"), 1);
    assert_eq!(one.call(2, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
    assert_eq!(two.handler.received(), []);
    assert_eq!(unencrypted(&two), 0);
}

#[tokio::test]
async fn certificate_of_another_node_is_refused_by_either_side() {
    let log = LogBuffer::default();
    let _guard = log.collect();
    let authority = TestAuthority::new();
    let one = tcp_node(1, authority.config(1, false)).await;
    let two = tcp_node(2, authority.config(3, false)).await;
    one.transport.set_peers(vec![(NodeId(2), two.addr())]);
    until("the dialler refuses", || log.lines("node-2") > 0).await;
    one.transport.set_peers(Vec::new());
    two.transport.set_peers(vec![(NodeId(1), one.addr())]);
    until("the acceptor refuses", || log.lines("not for its number") > 0).await;
    for (from, to) in [(&one, 2), (&two, 1)] {
        assert_eq!(from.call(to, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
        assert_eq!(from.handler.received(), []);
    }
}

#[tokio::test]
async fn dialler_without_the_secret_is_refused_inside_of_tls() {
    let authority = TestAuthority::new();
    let one = tcp_node(1, authority.config(1, true)).await;
    let config = TransportConfig {
        secret: "another".into(),
        ..authority.config(2, true)
    };
    let two = tcp_node(2, config).await;
    let log = LogBuffer::default();
    let _guard = log.collect();
    one.transport.set_peers(vec![(NodeId(2), two.addr())]);
    until("it was said", || log.lines("cluster secrets differ") > 0).await;
}

#[tokio::test]
async fn nodes_with_and_without_certificates_talk_for_a_time() {
    let authority = TestAuthority::new();
    let one = tcp_node(1, authority.config(1, false)).await;
    let two = tcp_node(2, quick()).await;
    mesh(&[&one, &two]).await;
    calls(&one, &two).await;
    calls(&two, &one).await;
    // Four connections of the node that has no certificates.
    assert_eq!(unencrypted(&one), 4);

    // It starts again, with a certificate.
    let addr = two.addr();
    two.transport.shutdown().await;
    one.until_down(NodeId(2)).await;
    let config = TransportConfig {
        listen: addr,
        ..authority.config(2, false)
    };
    let two = tcp_node(2, config).await;
    mesh(&[&one, &two]).await;
    calls(&one, &two).await;
    calls(&two, &one).await;
    assert_eq!((unencrypted(&one), unencrypted(&two)), (4, 0));
}

#[tokio::test]
async fn node_that_requires_tls_has_no_connection_without_it() {
    let log = LogBuffer::default();
    let _guard = log.collect();
    let one = tcp_node(1, TestAuthority::new().config(1, true)).await;
    let two = tcp_node(2, quick()).await;
    two.transport.set_peers(vec![(NodeId(1), one.addr())]);
    until("both sides say so", || log.lines("the node requires TLS") == 2).await;
    one.transport.set_peers(vec![(NodeId(2), two.addr())]);
    until("the other side finds no handshake of a node", || {
        log.lines("not a handshake of a rookery node") > 0
    })
    .await;
    for (from, to) in [(&one, 2), (&two, 1)] {
        assert_eq!(from.call(to, ECHO, "x", PATIENCE).await, Err(Error::Unreachable));
        assert_eq!(from.handler.received(), []);
    }
}

#[tokio::test]
async fn node_without_a_number_calls_an_address_by_tls() {
    let authority = TestAuthority::new();
    let member = tcp_node(1, authority.config(1, true)).await;
    // Its certificate may be for any number: the cluster assigns one later.
    for number in [2, 9] {
        let joining = TcpTransport::bind(authority.config(number, true)).await.unwrap();
        let call = joining.call_addr(&member.addr(), ECHO, "may I?".into(), PATIENCE);
        assert_eq!(call.await, Ok("may I?".into()));
    }
    let other = TcpTransport::bind(TestAuthority::new().config(2, true))
        .await
        .unwrap();
    let call = other.call_addr(&member.addr(), ECHO, "may I?".into(), PATIENCE);
    assert_eq!(call.await, Err(Error::Unreachable));
}

#[tokio::test]
async fn replaced_certificates_hold_for_new_connections() {
    let (before, after) = (TestAuthority::new(), TestAuthority::new());
    let (first, second) = (before.config(1, true), before.config(2, true));
    let tls = [first.tls.clone().unwrap(), second.tls.clone().unwrap()];
    let (one, two) = (tcp_node(1, first).await, tcp_node(2, second).await);
    mesh(&[&one, &two]).await;
    for (number, tls) in (1..).zip(&tls) {
        tls.replace(after.certificates(number));
    }
    calls(&one, &two).await;
    let links = |class| one.handler.links(NodeId(2), class).len();
    assert_eq!(
        ConnectionClass::ALL.map(links),
        [1; 4],
        "every connection is the first one"
    );

    let three = tcp_node(3, after.config(3, true)).await;
    three.transport.set_peers(vec![(NodeId(1), one.addr())]);
    three.until_up(NodeId(1)).await;
    calls(&three, &one).await;
    let late = TcpTransport::bind(before.config(4, true)).await.unwrap();
    let call = late.call_addr(&one.addr(), ECHO, "x".into(), PATIENCE);
    assert_eq!(
        call.await,
        Err(Error::Unreachable),
        "its authority is no longer trusted"
    );
}

#[test]
fn files_of_two_authorities_are_refused_with_the_reason() {
    let (one, two) = (TestAuthority::new(), TestAuthority::new());
    let (authorities, certificate, key) = one.files(1);
    let (other_authorities, _, other_key) = two.files(1);
    assert!(load(&authorities, &certificate, &key).is_ok());
    let both = format!("{other_authorities}{authorities}");
    assert!(
        load(&both, &certificate, &key).is_ok(),
        "while an authority is replaced"
    );
    let reason = |authorities: &str, certificate: &str, key: &str| {
        load(authorities, certificate, key)
            .err()
            .map(|error| error.to_string())
    };
    let half = &certificate[..certificate.len() / 2];
    for (found, expected) in [
        (
            reason(&authorities, &certificate, &other_key),
            "the certificate and the key: ",
        ),
        (
            reason(&other_authorities, &certificate, &key),
            "not one of a node of these authorities",
        ),
        (reason(&authorities, half, &key), "the certificate: "),
        (
            reason(&authorities, "", &key),
            "the certificate: it contains no certificate",
        ),
        (reason(&authorities, &certificate, ""), "the key: "),
        (
            reason("", &certificate, &key),
            "the authorities: it contains no certificate",
        ),
        (
            reason(&authorities, &authorities, &key),
            "the certificate and the key: ",
        ),
    ] {
        let found = found.expect("the files are refused");
        assert!(found.contains(expected), "{found}");
    }
}
