//! The secrets of a login against the keyrings of two clusters.

use crate::state_machine::SigningKey;

use super::*;

fn ring(pepper: u8) -> ActiveKeyring {
    let key = |seed, from_ms| SigningKey {
        seed: SecretBytes([seed; 32]),
        from_ms,
    };
    ActiveKeyring::new(Keyring {
        pepper: SecretBytes([pepper; 32]),
        keys: vec![key(1, 0), key(2, u64::MAX)],
    })
}

#[test]
fn user_id_is_stable_and_depends_on_the_cluster_key() {
    let user = |pepper, address| {
        let ring = ring(pepper);
        ring.user(&OtpChallenge::new(&ring, address)).to_string()
    };
    // Frozen: a different id would be a different user.
    assert_eq!(user(7, "+447700900123"), "u_3cebdlv5xumel37f3knaowvgyy");
    assert_ne!(user(7, "+447700900123"), user(7, "+447700900124"));
    assert_ne!(user(7, "+447700900123"), user(8, "+447700900123"));
}

#[test]
fn challenge_opens_only_in_the_cluster_that_made_it() {
    let (ours, others) = (ring(7), ring(8));
    let challenge = OtpChallenge::new(&ours, "+447700900123");
    let sealed = challenge.seal(&ours);
    assert_eq!(sealed.len(), 64);
    assert_eq!(OtpChallenge::open(&ours, &sealed), Some(challenge));
    assert_eq!(OtpChallenge::open(&others, &sealed), None);
    assert_eq!(OtpChallenge::open(&ours, &sealed[1..]), None);
    let first = if sealed.starts_with('a') { "b" } else { "a" };
    assert_eq!(
        OtpChallenge::open(&ours, &format!("{first}{}", &sealed[1..])),
        None
    );
    assert_eq!(OtpChallenge::open(&ours, &"é".repeat(32)), None);
}

#[test]
fn refresh_token_names_its_family_and_cannot_be_forged() {
    let (ours, others) = (ring(7), ring(8));
    let token = RefreshToken::first(&UserId::parse("u_x").unwrap());
    let sealed = token.seal(&ours);
    let opened = RefreshToken::open(&ours, &sealed).unwrap();
    assert!(opened == token && opened.next().id() == token.id());
    assert!(ours.token(&opened) != ours.token(&token.next()));
    assert!(RefreshToken::open(&others, &sealed).is_none());
    assert!(RefreshToken::open(&ours, &sealed[3..]).is_none());
    let mut bytes = BASE64URL_NOPAD.decode(&sealed.as_bytes()[3..]).unwrap();
    *bytes.last_mut().unwrap() = b'y';
    let other_user = format!("rt_{}", BASE64URL_NOPAD.encode(&bytes));
    assert!(RefreshToken::open(&ours, &other_user).is_none());
}

#[test]
fn device_token_opens_only_as_it_was_sealed() {
    let (ours, others) = (ring(7), ring(8));
    let user = UserId::parse(&"u".repeat(64)).unwrap();
    let token = DeviceToken::new(&ours, &user);
    let sealed = token.seal(&ours);
    assert!(DeviceToken::is_prefix_of(&sealed) && !DeviceToken::is_prefix_of("eyJ"));
    assert!(DeviceToken::open(&ours, &sealed).is_some_and(|opened| opened == token));
    assert!(DeviceToken::open(&others, &sealed).is_none());
    for at in [3, 30, 60, 90, 120] {
        let mut forged = sealed.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert!(DeviceToken::open(&ours, &forged).is_none(), "{at}");
        assert!(DeviceToken::hash(&forged) != DeviceToken::hash(&sealed));
    }
    // A refresh token is no device token, although their forms are alike.
    let refresh = RefreshToken::first(&UserId::parse("u_x").unwrap()).seal(&ours);
    assert!(DeviceToken::open(&ours, &refresh.replacen("rt_", "dt_", 1)).is_none());
}

#[test]
fn id_of_a_device_token_names_its_user() {
    let (ours, others) = (ring(7), ring(8));
    let [alice, bob] = ["alice", "bob"].map(|name| UserId::parse(name).unwrap());
    let id = DeviceToken::new(&ours, &alice).id();
    assert!(DeviceToken::is_of(&ours, &alice, id));
    assert!(!DeviceToken::is_of(&ours, &bob, id) && !DeviceToken::is_of(&others, &alice, id));
    let mut forged = id;
    forged.0[15] ^= 1;
    assert!(!DeviceToken::is_of(&ours, &alice, forged));
}

#[test]
fn ip_key_is_one_per_ipv6_network_and_per_ipv4_address() {
    let ring = ring(7);
    let ip = |text: &str| ring.ip(text.parse().unwrap());
    assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
    assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
    assert_eq!(ip("192.0.2.1"), ip("::ffff:192.0.2.1"));
    assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
}

#[test]
fn the_current_key_signs_and_all_are_published() {
    let ring = ring(7);
    let claims = AccessTokenClaims {
        iss: "rookery",
        sub: "u_x",
        aud: None,
        iat: 1,
        exp: 2,
        sid: "line",
    };
    let header = jsonwebtoken::decode_header(ring.sign(&claims).unwrap()).unwrap();
    assert_eq!(header.alg, Algorithm::EdDSA);
    let jwks = ring.jwks();
    assert_eq!(jwks["keys"][0]["kid"], header.kid.clone().unwrap().as_str());
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    // RFC 8032, section 7.1, has this public key for another seed: a JWK shows the public half only.
    assert!(jwks["keys"][0].get("d").is_none());
    assert!(ring.verifier(&header.kid.unwrap()).is_some() && ring.verifier("rk_x").is_none());
}
