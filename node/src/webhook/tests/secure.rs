//! Posts by TLS, to a receiver that has a certificate of an authority made for it.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Where the keys lie: a certificate for localhost, 127.0.0.1 and ::1, its authority, and another authority.
fn key(name: &str) -> String {
    format!("{}/tests/rest/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A receiver that takes everything, and tells what it got of requests, and of those who hung up before.
async fn receiver() -> (u16, mpsc::UnboundedReceiver<Result<String, String>>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(key("server.pem")).unwrap();
    let private = PrivateKeyDer::from_pem_file(key("server.key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let got = match acceptor.accept(stream).await {
                Ok(mut stream) => {
                    let mut request = Vec::new();
                    while !request.ends_with(b"}") {
                        assert!(
                            stream.read_buf(&mut request).await.unwrap() > 0,
                            "a whole request"
                        );
                    }
                    stream
                        .write_all(b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n")
                        .await
                        .unwrap();
                    Ok(String::from_utf8(request).unwrap())
                }
                Err(error) => Err(error.to_string()),
            };
            if sender.send(got).is_err() {
                return;
            }
        }
    });
    (port, requests)
}

/// Posts to `https://host:port/push`, trusting what is in the file beside the system's authorities.
async fn post(host: &str, port: u16, ca_file: &str) -> Result<(), WebhookError> {
    let settings = Settings {
        ca_file: if ca_file.is_empty() {
            String::new()
        } else {
            key(ca_file)
        },
        attempts: 1,
        ..settings(&format!("https://{host}:{port}/push"), 30_000, 1)
    };
    let hook = Webhook::open(settings, Metrics::default()).unwrap();
    hook.post("m1", Bytes::from_static(b"{\"a\":1}")).await
}

#[tokio::test]
async fn webhook_is_posted_over_tls_to_a_trusted_receiver() {
    let (port, mut requests) = receiver().await;
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(post(host, port, "ca.pem").await, Ok(()), "{host}");
        let request = requests.recv().await.unwrap().unwrap();
        assert!(request.starts_with("POST /push HTTP/1.1\r\n"), "{request}");
        assert_eq!(header(&request, "webhook-id"), "m1");
        assert_eq!(header(&request, "host"), format!("{host}:{port}"));
        let timestamp: u64 = header(&request, "webhook-timestamp").parse().unwrap();
        let expected = SigningSecret::parse(SECRET)
            .unwrap()
            .sign("m1", timestamp, b"{\"a\":1}");
        assert_eq!(header(&request, "webhook-signature"), expected.signature);
    }
}

#[tokio::test]
async fn webhook_receiver_with_a_wrong_certificate_gets_nothing() {
    let (port, mut requests) = receiver().await;
    for (host, ca_file, why) in [
        ("localhost", "other-ca.pem", "UnknownIssuer"),
        // The name is this machine's, and not one of the certificate's.
        ("127.0.0.2", "ca.pem", "not valid for name"),
    ] {
        let posted = post(host, port, ca_file).await;
        let Err(WebhookError::Unreachable(reason)) = &posted else {
            panic!("{host}: {posted:?}")
        };
        assert!(reason.contains(why), "{host}: {reason}");
        let got = requests.recv().await.unwrap();
        assert!(got.is_err(), "not a word was said: {got:?}");
    }
}

#[tokio::test]
async fn a_receiver_without_tls_gets_nothing_in_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        stream.read_buf(&mut received).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 X\r\n\r\n").await.unwrap();
        let _closed = stream.read_to_end(&mut received).await;
        received
    });
    let posted = post("127.0.0.1", port, "ca.pem").await;
    assert!(matches!(posted, Err(WebhookError::Unreachable(_))), "{posted:?}");
    let received = received.await.unwrap();
    assert!(!String::from_utf8_lossy(&received).contains("POST"));
}

#[test]
fn an_unusable_file_of_authorities_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    for file in [dir.path().join("missing.pem"), empty] {
        let settings = Settings {
            ca_file: file.display().to_string(),
            ..settings("https://localhost/", 1_000, 1)
        };
        let refused = Webhook::open(settings, Metrics::default()).err().unwrap();
        assert!(refused.to_string().contains(".pem: "), "{refused}");
    }
}
