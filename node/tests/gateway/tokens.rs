//! The matrix of tokens that must not be believed, and of those that must.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header, encode};
use node::testkit::{
    Algorithm, AuthConfig as Settings, Keyring, KeyringCache, SecretBytes, SecretString, SigningKey,
    TokenError, TokenVerifier, unix_ms,
};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn key_file(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "gateway", "keys", name]
        .iter()
        .collect();
    path.display().to_string()
}

fn key_text(name: &str) -> Vec<u8> {
    std::fs::read(key_file(name)).unwrap()
}

fn now() -> i64 {
    (unix_ms() / 1_000) as i64
}

fn claims() -> Value {
    json!({ "sub": "alice", "exp": now() + 600 })
}

fn with(more: Value) -> Value {
    let mut claims = claims();
    for (key, value) in more.as_object().unwrap() {
        claims[key] = value.clone();
    }
    claims
}

/// Tolerated difference of the clocks.
const LEEWAY: Duration = Duration::from_secs(60);

fn hs256() -> Settings {
    Settings {
        secret: SecretString(SECRET.to_owned()),
        ..Settings::default()
    }
}

fn signed(claims: &Value) -> String {
    encode(
        &Header::default(),
        claims,
        &EncodingKey::from_secret(SECRET.as_bytes()).unwrap(),
    )
    .unwrap()
}

fn check(settings: &Settings, token: &str) -> Result<String, TokenError> {
    let auth = TokenVerifier::open(settings, LEEWAY).unwrap();
    auth.check(token).map(|identity| identity.user.to_string())
}

/// Base64 as in tokens.
fn part(json: &Value) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let text = json.to_string();
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
    out
}

#[test]
fn each_kind_of_key_believes_its_own_tokens() {
    assert_eq!(check(&hs256(), &signed(&claims())), Ok("alice".to_owned()));
    let ed = EncodingKey::from_ed_pem(&key_text("ed25519.pem")).unwrap();
    let rsa = EncodingKey::from_rsa_pem(&key_text("rsa.pem")).unwrap();
    for (algorithm, alg, key, public, kid) in [
        (Algorithm::EdDSA, Alg::EdDSA, &ed, "ed25519.pub.pem", "ed-1"),
        (Algorithm::RS256, Alg::RS256, &rsa, "rsa.pub.pem", "rsa-1"),
    ] {
        let pem = Settings {
            algorithm,
            key_file: key_file(public),
            ..Settings::default()
        };
        let jwks = Settings {
            algorithm,
            key_file: key_file("jwks.json"),
            ..Settings::default()
        };
        let mut header = Header::new(alg);
        assert_eq!(
            check(&pem, &encode(&header, &claims(), key).unwrap()),
            Ok("alice".to_owned())
        );
        assert_eq!(
            check(&jwks, &encode(&header, &claims(), key).unwrap()),
            Err(TokenError::Invalid),
            "no kid"
        );
        header.kid = Some(kid.to_owned());
        assert_eq!(
            check(&jwks, &encode(&header, &claims(), key).unwrap()),
            Ok("alice".to_owned())
        );
        header.kid = Some("../../etc/passwd' OR 1=1".to_owned());
        assert_eq!(
            check(&jwks, &encode(&header, &claims(), key).unwrap()),
            Err(TokenError::Invalid),
            "unknown kid"
        );
    }
}

#[test]
fn a_token_cannot_choose_how_it_is_checked() {
    for alg in [
        "none", "None", "NONE", "HS384", "HS512", "RS256", "ES256", "EdDSA", "",
    ] {
        let head = part(&json!({ "alg": alg, "typ": "JWT" }));
        for signature in ["", "AAAA"] {
            let token = format!("{head}.{}.{signature}", part(&claims()));
            assert_eq!(check(&hs256(), &token), Err(TokenError::Invalid), "alg {alg:?}");
        }
    }
    // HS256 with the public key as the secret.
    let public = key_text("rsa.pub.pem");
    let forged = encode(
        &Header::new(Alg::HS256),
        &claims(),
        &EncodingKey::from_secret(&public).unwrap(),
    )
    .unwrap();
    let rs256 = Settings {
        algorithm: Algorithm::RS256,
        key_file: key_file("rsa.pub.pem"),
        ..Settings::default()
    };
    assert_eq!(check(&rs256, &forged), Err(TokenError::Invalid));
}

#[test]
fn a_token_cannot_bring_its_own_key() {
    let key = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    let url = || Some("https://evil.example/keys".to_owned());
    for header in [
        Header {
            jku: url(),
            ..Header::default()
        },
        Header {
            x5u: url(),
            ..Header::default()
        },
        Header {
            x5c: Some(vec!["AAAA".to_owned()]),
            ..Header::default()
        },
        Header {
            crit: Some(vec!["exp".to_owned()]),
            ..Header::default()
        },
    ] {
        assert_eq!(
            check(&hs256(), &encode(&header, &claims(), &key).unwrap()),
            Err(TokenError::Invalid)
        );
    }
}

#[test]
fn times_are_checked_with_a_minute_of_tolerance() {
    for (claims, expected) in [
        (with(json!({ "exp": now() - 30 })), Ok("alice".to_owned())),
        (with(json!({ "exp": now() - 90 })), Err(TokenError::Expired)),
        (with(json!({ "exp": "soon" })), Err(TokenError::Invalid)),
        (with(json!({ "exp": -1 })), Err(TokenError::Invalid)),
        (with(json!({ "exp": 1e300 })), Err(TokenError::Invalid)),
        (with(json!({ "exp": null })), Err(TokenError::Invalid)),
        (json!({ "sub": "alice" }), Err(TokenError::Invalid)),
        (with(json!({ "nbf": now() + 30 })), Ok("alice".to_owned())),
        (with(json!({ "nbf": now() + 90 })), Err(TokenError::Invalid)),
        (with(json!({ "iat": now() + 30 })), Ok("alice".to_owned())),
        (with(json!({ "iat": now() + 90 })), Err(TokenError::Invalid)),
    ] {
        assert_eq!(check(&hs256(), &signed(&claims)), expected, "{claims}");
    }
}

struct Shows(u64);

impl cluster::clock::WallClock for Shows {
    fn now_ms(&self) -> u64 {
        self.0
    }
}

#[test]
fn token_times_are_checked_with_the_cluster_clock() {
    let at = |seconds: i64| {
        let auth = TokenVerifier::open(&hs256(), LEEWAY).unwrap();
        auth.by(cluster::ClusterClock::new(Shows(seconds as u64 * 1_000)))
    };
    let check = |seconds, claims| at(seconds).check(&signed(&with(claims))).map(|_| ());
    let days = 10 * 24 * 3600;
    let token = || json!({ "iat": now(), "nbf": now(), "exp": now() + 600 });
    assert_eq!(check(now(), token()), Ok(()));
    assert_eq!(check(now() + days, token()), Err(TokenError::Expired));
    assert_eq!(check(now() - days, token()), Err(TokenError::Invalid));
    let over = json!({ "exp": now() - days + 600 });
    assert_eq!(check(now() - days, over), Ok(()));
}

#[test]
fn audience_and_issuer_are_required_where_they_are_configured() {
    let settings = Settings {
        audience: "chat".to_owned(),
        issuer: "id.example.org".to_owned(),
        ..hs256()
    };
    for (more, expected) in [
        (
            json!({ "aud": "chat", "iss": "id.example.org" }),
            Ok("alice".to_owned()),
        ),
        (
            json!({ "aud": ["mail", "chat"], "iss": "id.example.org" }),
            Ok("alice".to_owned()),
        ),
        (
            json!({ "aud": "mail", "iss": "id.example.org" }),
            Err(TokenError::Invalid),
        ),
        (
            json!({ "aud": "chat", "iss": "evil.example" }),
            Err(TokenError::Invalid),
        ),
        (json!({ "iss": "id.example.org" }), Err(TokenError::Invalid)),
        (json!({ "aud": "chat" }), Err(TokenError::Invalid)),
    ] {
        assert_eq!(check(&settings, &signed(&with(more.clone()))), expected, "{more}");
    }
    assert_eq!(
        check(&hs256(), &signed(&with(json!({ "aud": "any" })))),
        Ok("alice".to_owned())
    );
}

#[test]
fn what_is_no_token_of_ours_is_refused() {
    let token = signed(&claims());
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let other = EncodingKey::from_secret(b"another-secret-another-secret-12").unwrap();
    let last = token.chars().last().unwrap();
    let flipped = if last == 'A' { 'B' } else { 'A' };
    for (token, why) in [
        (String::new(), "empty"),
        ("..".to_owned(), "only dots"),
        (format!("{head}.{body}"), "no signature"),
        (format!("{head}.{body}."), "empty signature"),
        (
            format!("{head}.{}.{signature}", part(&with(json!({ "sub": "bob" })))),
            "changed claims",
        ),
        (format!("{token}="), "padding"),
        (
            format!("{}{flipped}", &token[..token.len() - 1]),
            "another last character",
        ),
        (format!("{token}.x"), "four parts"),
        (
            encode(&Header::default(), &claims(), &other).unwrap(),
            "another secret",
        ),
        (signed(&json!({ "exp": now() + 600 })), "no user"),
        (signed(&with(json!({ "sub": "" }))), "empty user"),
        (signed(&with(json!({ "sub": "a b" }))), "not a user"),
        (signed(&with(json!({ "sub": "x".repeat(65) }))), "a long user"),
        (signed(&with(json!({ "sub": 7 }))), "a number as a user"),
        (
            signed(&with(json!({ "pad": "x".repeat(9_000) }))),
            "over eight kilobytes",
        ),
        ("dev:alice".to_owned(), "a development token"),
    ] {
        assert_eq!(check(&hs256(), &token), Err(TokenError::Invalid), "{why}");
    }
}

#[test]
fn development_tokens_are_accepted_only_where_enabled() {
    let dev = Settings {
        dev_tokens: true,
        ..Settings::default()
    };
    assert_eq!(check(&dev, "dev:alice"), Ok("alice".to_owned()));
    assert_eq!(check(&dev, "dev:"), Err(TokenError::Invalid));
    assert_eq!(check(&dev, "dev:a/b"), Err(TokenError::Invalid));
    assert_eq!(
        check(&dev, &signed(&claims())),
        Err(TokenError::Invalid),
        "no keys are configured"
    );
}

#[test]
fn a_key_file_that_cannot_be_used_is_named_by_its_setting() {
    let rs256 = |file: &str| Settings {
        algorithm: Algorithm::RS256,
        key_file: file.to_owned(),
        ..Settings::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let written = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for (file, reason) in [
        ("/nowhere".to_owned(), "No such file"),
        (key_file("ed25519.pub.pem"), "no public key for RS256"),
        (written("der", "MCowBQYDK2VwAyEA"), "neither a public key in PEM"),
        (written("one.json", r#"{"kty":"RSA","kid":"rsa-1"}"#), "no JWKS"),
        (
            written("none.json", r#"{"keys":[]}"#),
            "no key with a kid for RS256",
        ),
    ] {
        let error = TokenVerifier::open(&rs256(&file), LEEWAY)
            .err()
            .expect("no usable key")
            .to_string();
        assert!(error.starts_with("auth.key_file: "), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

/// Knows one key of the cluster, beside the secret of others; and that key's name and its private half.
fn cluster() -> (TokenVerifier, String, EncodingKey) {
    let keys = Arc::new(KeyringCache::new(Duration::from_secs(60)));
    let ring = Keyring {
        pepper: SecretBytes([7; 32]),
        keys: vec![SigningKey {
            seed: SecretBytes([1; 32]),
            from_ms: 0,
        }],
    };
    keys.update(Some(ring));
    let public = ed25519_dalek::SigningKey::from_bytes(&[1; 32])
        .verifying_key()
        .to_bytes();
    let kid = format!("rk_{}", &BASE32_NOPAD.encode(&public).to_ascii_lowercase()[..16]);
    let auth = TokenVerifier::open(&hs256(), LEEWAY).unwrap();
    let auth = auth.believing(keys, &hs256(), LEEWAY);
    (auth, kid, ed25519([1; 32]))
}

fn ed25519(seed: [u8; 32]) -> EncodingKey {
    let head = HEXLOWER.decode(b"302e020100300506032b657004220420").unwrap();
    EncodingKey::from_ed_der(&[head, seed.to_vec()].concat())
}

fn named(alg: Alg, kid: &str) -> Header {
    Header {
        kid: Some(kid.to_owned()),
        ..Header::new(alg)
    }
}

#[test]
fn a_token_of_the_cluster_is_believed_beside_those_of_others() {
    let (auth, kid, key) = cluster();
    let own = |more: Value| with(more);
    let iss = json!({ "iss": "rookery" });
    let check = |header: &Header, claims: &Value, key: &EncodingKey| {
        let token = encode(header, claims, key).unwrap();
        auth.check(&token).map(|identity| identity.user.to_string())
    };
    let header = named(Alg::EdDSA, &kid);
    assert_eq!(check(&header, &own(iss.clone()), &key), Ok("alice".to_owned()));
    assert_eq!(auth.check(&signed(&claims())).unwrap().user.to_string(), "alice");

    let public = ed25519_dalek::SigningKey::from_bytes(&[1; 32])
        .verifying_key()
        .to_bytes();
    let jku = Header {
        jku: Some("https://evil.example/keys".to_owned()),
        ..header.clone()
    };
    let outside = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    for (header, claims, key, why) in [
        (&header, own(json!({})), &key, "no issuer"),
        (
            &header,
            own(json!({ "iss": "id.example.org" })),
            &key,
            "another issuer",
        ),
        (
            &header,
            json!({ "sub": "alice", "iss": "rookery" }),
            &key,
            "no end",
        ),
        (&header, own(iss.clone()), &ed25519([2; 32]), "another key"),
        (&jku, own(iss.clone()), &key, "it brings its keys"),
        (
            &named(Alg::EdDSA, "rk_aaaaaaaaaaaaaaaa"),
            own(iss.clone()),
            &key,
            "an unknown name",
        ),
        (
            &named(Alg::EdDSA, "x"),
            own(iss.clone()),
            &key,
            "a name of others",
        ),
        (&Header::new(Alg::EdDSA), own(iss.clone()), &key, "no name"),
        (
            &named(Alg::HS256, &kid),
            own(iss.clone()),
            &EncodingKey::from_secret(&public).unwrap(),
            "the public key as a secret",
        ),
        (
            &named(Alg::HS256, &kid),
            own(iss.clone()),
            &outside,
            "the secret of others",
        ),
    ] {
        assert_eq!(check(header, &claims, key), Err(TokenError::Invalid), "{why}");
    }
    let over = own(json!({ "iss": "rookery", "exp": now() - 90 }));
    assert_eq!(check(&header, &over, &key), Err(TokenError::Expired));
}

#[test]
fn without_the_clusters_keys_a_refusal_is_temporary() {
    let (_, kid, key) = cluster();
    let auth = TokenVerifier::open(&hs256(), LEEWAY).unwrap();
    let keys = Arc::new(KeyringCache::new(Duration::from_secs(60)));
    let auth = auth.believing(keys.clone(), &hs256(), LEEWAY);
    let token = encode(&named(Alg::EdDSA, &kid), &with(json!({ "iss": "rookery" })), &key).unwrap();
    assert_eq!(auth.check(&token).err(), Some(TokenError::NotYet));
    keys.update(None);
    assert_eq!(
        auth.check(&token).err(),
        Some(TokenError::NotYet),
        "none were made yet"
    );
    // What is not the cluster's can be judged all the same.
    assert!(auth.check(&signed(&claims())).is_ok());
    assert_eq!(
        auth.check(&format!("{}x", signed(&claims()))).err(),
        Some(TokenError::Invalid)
    );
}

#[test]
fn a_key_in_the_header_and_duplicate_claims_are_refused() {
    let secret = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    let octets = json!({ "kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" });
    let header = Header {
        jwk: Some(serde_json::from_value(octets).unwrap()),
        ..Header::default()
    };
    let token = encode(&header, &claims(), &secret).unwrap();
    assert_eq!(check(&hs256(), &token), Err(TokenError::Invalid), "its own key");

    // Signed over the bytes as they stand, so only the claims are wrong.
    let head = part(&json!({ "alg": "HS256", "typ": "JWT" }));
    let twice = format!(r#"{{"sub":"alice","exp":{},"sub":"bob"}}"#, now() + 600);
    let signed = format!("{head}.{}", BASE64URL_NOPAD.encode(twice.as_bytes()));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, Alg::HS256).unwrap();
    assert_eq!(
        check(&hs256(), &format!("{signed}.{signature}")),
        Err(TokenError::Invalid),
        "twice"
    );
    let once = twice.replace(r#","sub":"bob""#, "");
    let signed = format!("{head}.{}", BASE64URL_NOPAD.encode(once.as_bytes()));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, Alg::HS256).unwrap();
    assert_eq!(
        check(&hs256(), &format!("{signed}.{signature}")),
        Ok("alice".to_owned()),
        "once"
    );
}
