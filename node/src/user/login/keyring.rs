//! The cluster's keys in use: what is hashed and signed with them, and the two things that clients hold.
//!
//! ```text
//! challenge      base32( address tag 16 │ code id 16 │ mac 8 )
//! refresh token  rt_ base64url( line 16 │ secret 32 │ mac 16 │ user )
//! user id        u_ base32( hash of the address tag 16 )
//! ```
//! Both carry a code of their own, so that what the cluster has not made costs the log nothing. The address tag is a
//! keyed hash of the address, and the user id a keyed hash of the tag: neither tells the address, and a challenge does
//! not tell the user id. All keys are made from one, the pepper, by what they are for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use parking_lot::Mutex;
use protocol::{Cid, ConvId, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::Notify;

use super::name;
use crate::conversation::timeline::login::{Hidden, Keyring};

/// What the `kid` of the cluster's own keys begins with.
pub const KID: &str = "rk_";

/// What precedes the seed of an Ed25519 key in PKCS#8 (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The keys as this node knows them. One per node; the [keeper](super::keeper) keeps them fresh.
pub struct Keys {
    ring: ArcSwapOption<Ring>,
    heard: Mutex<Option<Instant>>,
    /// What was heard longer ago may be outdated.
    stale: Duration,
    wake: Notify,
}

/// The keys of the cluster, ready for use.
pub struct Ring {
    keyring: Keyring,
    signers: Vec<Signer>,
    verifiers: HashMap<String, DecodingKey>,
}

struct Signer {
    kid: String,
    key: EncodingKey,
    /// The public key, as a JWK has it.
    x: String,
}

/// What an access token says.
#[derive(Serialize)]
pub(crate) struct Claims<'a> {
    pub(crate) iss: &'a str,
    pub(crate) sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aud: Option<&'a str>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    /// Which login it came from.
    pub(crate) sid: &'a str,
}

/// Names a code of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    tag: [u8; 16],
    id: [u8; 16],
}

/// A token of a line.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    line: [u8; 16],
    secret: [u8; 32],
    pub(crate) user: UserId,
}

// === impl Keys ===

impl Keys {
    /// Knows nothing yet. What was heard longer than `stale` ago may be outdated.
    #[must_use]
    pub fn new(stale: Duration) -> Keys {
        Keys {
            ring: ArcSwapOption::empty(),
            heard: Mutex::default(),
            stale,
            wake: Notify::new(),
        }
    }

    /// Takes what the owner of the keys has said.
    pub fn hear(&self, keyring: Option<Keyring>) {
        let known = self.ring.load();
        let same = match (&*known, &keyring) {
            (Some(ring), Some(keyring)) => ring.keyring == *keyring,
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.ring
                .store(keyring.map(|keyring| Arc::new(Ring::new(keyring))));
        }
        *self.heard.lock() = Some(Instant::now());
    }

    /// The keys, if any are known.
    pub(crate) fn ring(&self) -> Option<Arc<Ring>> {
        self.ring.load_full()
    }

    /// Whether a key that isn't known here may be one that the node has only not heard of yet. If so, it asks.
    pub(crate) fn may_lack(&self) -> bool {
        let outdated = self.heard.lock().is_none_or(|heard| heard.elapsed() > self.stale);
        let lacks = outdated || self.ring.load().is_none();
        if lacks {
            self.poke();
        }
        lacks
    }

    /// Has the keeper ask soon.
    pub(crate) fn poke(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn poked(&self) {
        self.wake.notified().await;
    }
}

// === impl Ring ===

impl Ring {
    fn new(keyring: Keyring) -> Ring {
        let mut signers = Vec::new();
        let mut verifiers = HashMap::new();
        for key in &keyring.keys {
            let public = ed25519_dalek::SigningKey::from_bytes(&key.seed.0)
                .verifying_key()
                .to_bytes();
            let kid = format!("{KID}{}", &base32(&public)[..16]);
            verifiers.insert(kid.clone(), DecodingKey::from_ed_der(&public));
            signers.push(Signer {
                kid,
                key: EncodingKey::from_ed_der(&[&PKCS8[..], &key.seed.0].concat()),
                x: BASE64URL_NOPAD.encode(&public),
            });
        }
        Ring {
            keyring,
            signers,
            verifiers,
        }
    }

    /// The keys, as they are in the log.
    pub(super) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Signs an access token with the key whose turn it is when the token is issued. `None`: there is no key.
    pub(crate) fn sign(&self, claims: &Claims<'_>) -> Option<String> {
        let signer = &self.signers[self.keyring.signing(claims.iat.saturating_mul(1_000))?];
        let header = Header {
            kid: Some(signer.kid.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        // Fails only for claims that are no JSON.
        jsonwebtoken::encode(&header, claims, &signer.key).ok()
    }

    /// The public key of that name.
    pub(crate) fn verifier(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifiers.get(kid)
    }

    /// The public keys, as `/.well-known/jwks.json` shows them.
    pub(crate) fn jwks(&self) -> Value {
        let jwk = |signer: &Signer| json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": signer.kid, "x": signer.x });
        json!({ "keys": self.signers.iter().map(jwk).collect::<Vec<_>>() })
    }

    /// What an IP address is called in the log: one name for all addresses of a customer's IPv6 network.
    pub(crate) fn ip(&self, ip: IpAddr) -> ConvId {
        let tag = match ip.to_canonical() {
            IpAddr::V4(ip) => self.mac("ip", &[&ip.octets()]),
            IpAddr::V6(ip) => self.mac("ip", &[&ip.octets()[..8]]),
        };
        name(&format!("ip_{}", base32(&tag[..16])))
    }

    /// The hash of a code.
    pub(crate) fn code(&self, challenge: &Challenge, code: &str) -> Hidden {
        Hidden(self.mac("code", &[&challenge.tag, &challenge.id, code.as_bytes()]))
    }

    /// The user whose address the challenge is for.
    pub(crate) fn user(&self, challenge: &Challenge) -> UserId {
        let text = format!("u_{}", base32(&self.mac("user", &[&challenge.tag])[..16]));
        UserId::parse(&text).expect("a prefix and base32 are a well-formed id")
    }

    /// The hash of a refresh token.
    pub(crate) fn token(&self, token: &RefreshToken) -> Hidden {
        Hidden(self.mac("token", &[&token.line, &token.secret]))
    }

    /// A keyed hash for one purpose. Parts are told apart by their lengths.
    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.keyring.pepper.0).expect("a key of any length is a key");
        for part in [purpose.as_bytes()].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

// === impl Challenge ===

impl Challenge {
    /// A new challenge for an address.
    pub(crate) fn new(ring: &Ring, address: &str) -> Challenge {
        let tag = ring.mac("address", &[address.as_bytes()]);
        Challenge {
            tag: std::array::from_fn(|i| tag[i]),
            id: rand::random(),
        }
    }

    /// What the address is called in the log.
    pub(crate) fn name(&self) -> ConvId {
        name(&format!("to_{}", base32(&self.tag)))
    }

    /// What the code is called in the log.
    pub(crate) fn id(&self) -> Cid {
        id(&self.id)
    }

    /// As the client gets it.
    pub(crate) fn seal(&self, ring: &Ring) -> String {
        let mac = ring.mac("challenge", &[&self.tag, &self.id]);
        base32(&[&self.tag[..], &self.id, &mac[..8]].concat())
    }

    /// Reads what the client got; `None` if it got it elsewhere.
    pub(crate) fn open(ring: &Ring, text: &str) -> Option<Challenge> {
        if text.len() != 64 {
            return None;
        }
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        let (tag, rest) = bytes.split_first_chunk::<16>()?;
        let (id, mac) = rest.split_first_chunk::<16>()?;
        let expected = ring.mac("challenge", &[tag, id]);
        bool::from(expected[..8].ct_eq(mac)).then_some(Challenge { tag: *tag, id: *id })
    }
}

// === impl RefreshToken ===

impl RefreshToken {
    /// The first of a new line.
    pub(crate) fn first(user: &UserId) -> RefreshToken {
        RefreshToken {
            line: rand::random(),
            secret: rand::random(),
            user: user.clone(),
        }
    }

    /// Another of the same line.
    pub(crate) fn next(&self) -> RefreshToken {
        RefreshToken {
            secret: rand::random(),
            ..self.clone()
        }
    }

    /// What the user is called in the log.
    pub(crate) fn name(&self) -> ConvId {
        name(self.user.as_str())
    }

    /// What the line is called in the log.
    pub(crate) fn id(&self) -> Cid {
        id(&self.line)
    }

    /// As the client gets it.
    pub(crate) fn seal(&self, ring: &Ring) -> String {
        let mac = self.mac(ring);
        let user = self.user.as_str().as_bytes();
        let bytes = [&self.line[..], &self.secret, &mac, user].concat();
        format!("rt_{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// Reads what the client got; `None` if it got it elsewhere.
    pub(crate) fn open(ring: &Ring, text: &str) -> Option<RefreshToken> {
        if text.len() > 256 {
            return None;
        }
        let bytes = BASE64URL_NOPAD
            .decode(text.strip_prefix("rt_")?.as_bytes())
            .ok()?;
        let (line, rest) = bytes.split_first_chunk::<16>()?;
        let (secret, rest) = rest.split_first_chunk::<32>()?;
        let (mac, user) = rest.split_first_chunk::<16>()?;
        let token = RefreshToken {
            line: *line,
            secret: *secret,
            user: UserId::parse(std::str::from_utf8(user).ok()?).ok()?,
        };
        bool::from(token.mac(ring).ct_eq(mac)).then_some(token)
    }

    fn mac(&self, ring: &Ring) -> [u8; 16] {
        let user = self.user.as_str().as_bytes();
        let mac = ring.mac("refresh", &[&self.line, &self.secret, user]);
        std::array::from_fn(|i| mac[i])
    }
}

fn id(bytes: &[u8; 16]) -> Cid {
    Cid::parse(&base32(bytes)).expect("base32 is a well-formed cid")
}

fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use crate::conversation::timeline::login::SigningKey;

    use super::*;

    fn ring(pepper: u8) -> Ring {
        let key = |seed, from_ms| SigningKey {
            seed: Hidden([seed; 32]),
            from_ms,
        };
        Ring::new(Keyring {
            pepper: Hidden([pepper; 32]),
            keys: vec![key(1, 0), key(2, u64::MAX)],
        })
    }

    #[test]
    fn a_user_id_is_the_same_for_ever_and_depends_on_the_clusters_key() {
        let user = |pepper, address| {
            let ring = ring(pepper);
            ring.user(&Challenge::new(&ring, address)).to_string()
        };
        // Frozen: another id would be another user.
        assert_eq!(user(7, "+447700900123"), "u_3cebdlv5xumel37f3knaowvgyy");
        assert_ne!(user(7, "+447700900123"), user(7, "+447700900124"));
        assert_ne!(user(7, "+447700900123"), user(8, "+447700900123"));
    }

    #[test]
    fn a_challenge_is_opened_by_the_cluster_that_made_it_and_by_no_other() {
        let (ours, others) = (ring(7), ring(8));
        let challenge = Challenge::new(&ours, "+447700900123");
        let sealed = challenge.seal(&ours);
        assert_eq!(sealed.len(), 64);
        assert_eq!(Challenge::open(&ours, &sealed), Some(challenge));
        assert_eq!(Challenge::open(&others, &sealed), None);
        assert_eq!(Challenge::open(&ours, &sealed[1..]), None);
        let first = if sealed.starts_with('a') { "b" } else { "a" };
        assert_eq!(Challenge::open(&ours, &format!("{first}{}", &sealed[1..])), None);
        assert_eq!(Challenge::open(&ours, &"é".repeat(32)), None);
    }

    #[test]
    fn a_refresh_token_names_its_line_and_its_user_and_cannot_be_made_up() {
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
    fn an_ipv6_network_has_one_name_and_so_has_an_ipv4_address_however_it_is_written() {
        let ring = ring(7);
        let ip = |text: &str| ring.ip(text.parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("192.0.2.1"), ip("::ffff:192.0.2.1"));
        assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
    }

    #[test]
    fn the_key_whose_turn_it_is_signs_and_all_are_shown() {
        let ring = ring(7);
        let claims = Claims {
            iss: "rookery",
            sub: "u_x",
            aud: None,
            iat: 1,
            exp: 2,
            sid: "line",
        };
        let header = jsonwebtoken::decode_header(ring.sign(&claims).unwrap()).unwrap();
        assert_eq!(header.alg, Algorithm::EdDSA);
        let shown = ring.jwks();
        assert_eq!(shown["keys"][0]["kid"], header.kid.clone().unwrap().as_str());
        assert_eq!(shown["keys"].as_array().unwrap().len(), 2);
        // RFC 8032, section 7.1, has this public key for another seed: a JWK shows the public half only.
        assert!(shown["keys"][0].get("d").is_none());
        assert!(ring.verifier(&header.kid.unwrap()).is_some() && ring.verifier("rk_x").is_none());
    }
}
