//! Active keyring of the cluster: hashes, signatures, and the two secrets that clients hold.
//!
//! ```text
//! challenge      base32( identifier tag 16 │ code id 16 │ mac 8 )
//! refresh token  rt_ base64url( family 16 │ secret 32 │ mac 16 │ user )
//! user id        u_ base32( hash of the identifier tag 16 )
//! ```
//! Both secrets carry a MAC, so that forged ones cost the log nothing. The identifier tag is a keyed hash of the
//! identifier, and the user id a keyed hash of the tag. Neither reveals the identifier, and a challenge does not reveal
//! the user id. All keys are derived from one, the pepper, by purpose.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use parking_lot::Mutex;
use protocol::{ClientMessageId, ConversationId, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::Notify;

use super::name;
use crate::conversation::state_machine::login::{Keyring, SecretBytes};

/// Prefix of the `kid` of the cluster's own keys.
pub const KID: &str = "rk_";

/// Prefix of the seed of an Ed25519 key in PKCS#8 (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Keyring as last fetched by this node. One per node, updated by [key refresh](super::key_refresh).
pub struct KeyringCache {
    ring: ArcSwapOption<ActiveKeyring>,
    fetched: Mutex<Option<Instant>>,
    /// Age from which the fetched keyring may be outdated.
    stale: Duration,
    wake: Notify,
}

/// Keyring with its keys prepared for use.
pub struct ActiveKeyring {
    keyring: Keyring,
    signers: Vec<Signer>,
    verifiers: HashMap<String, DecodingKey>,
}

struct Signer {
    kid: String,
    key: EncodingKey,
    /// Public key in the encoding of a JWK.
    x: String,
}

/// Claims of an access token.
#[derive(Serialize)]
pub(crate) struct AccessTokenClaims<'a> {
    pub(crate) iss: &'a str,
    pub(crate) sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aud: Option<&'a str>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    /// Login that the token came from.
    pub(crate) sid: &'a str,
}

/// Id of a code and tag of its identifier; clients hold it in sealed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtpChallenge {
    tag: [u8; 16],
    id: [u8; 16],
}

/// Refresh token of a token family.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    line: [u8; 16],
    secret: [u8; 32],
    pub(crate) user: UserId,
}

// === impl KeyringCache ===

impl KeyringCache {
    /// Creates an empty cache. A keyring fetched longer than `stale` ago may be outdated.
    #[must_use]
    pub fn new(stale: Duration) -> KeyringCache {
        KeyringCache {
            ring: ArcSwapOption::empty(),
            fetched: Mutex::default(),
            stale,
            wake: Notify::new(),
        }
    }

    /// Stores a fetched keyring; `None` means that the cluster has no keys yet.
    pub fn update(&self, keyring: Option<Keyring>) {
        // An unchanged keyring is not rebuilt: deriving the public keys costs a curve operation each.
        let known = self.ring.load();
        let same = match (&*known, &keyring) {
            (Some(ring), Some(keyring)) => ring.keyring == *keyring,
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.ring
                .store(keyring.map(|keyring| Arc::new(ActiveKeyring::new(keyring))));
        }
        // Set last: with a fresh time but the old keys, a token with a new key would be refused for good.
        *self.fetched.lock() = Some(Instant::now());
    }

    /// Returns the keyring, if any was fetched.
    pub(crate) fn ring(&self) -> Option<Arc<ActiveKeyring>> {
        self.ring.load_full()
    }

    /// Returns true if an unknown key may be missing only here, and triggers a refresh in that case.
    pub(crate) fn may_lack(&self) -> bool {
        let outdated = self
            .fetched
            .lock()
            .is_none_or(|fetched| fetched.elapsed() > self.stale);
        let lacks = outdated || self.ring.load().is_none();
        if lacks {
            self.wake();
        }
        lacks
    }

    /// Wakes the key refresh task.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn poked(&self) {
        self.wake.notified().await;
    }
}

// === impl ActiveKeyring ===

impl ActiveKeyring {
    fn new(keyring: Keyring) -> ActiveKeyring {
        let mut signers = Vec::new();
        let mut verifiers = HashMap::new();
        for key in &keyring.keys {
            let public = ed25519_dalek::SigningKey::from_bytes(&key.seed.0)
                .verifying_key()
                .to_bytes();
            // Derived from the public key, so all nodes name a key alike.
            let kid = format!("{KID}{}", &base32(&public)[..16]);
            verifiers.insert(kid.clone(), DecodingKey::from_ed_der(&public));
            signers.push(Signer {
                kid,
                key: EncodingKey::from_ed_der(&[&PKCS8[..], &key.seed.0].concat()),
                x: BASE64URL_NOPAD.encode(&public),
            });
        }
        ActiveKeyring {
            keyring,
            signers,
            verifiers,
        }
    }

    /// Returns the keyring as it is in the log.
    pub(super) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Signs an access token with the key in use at its time of issue. Returns `None` without keys.
    pub(crate) fn sign(&self, claims: &AccessTokenClaims<'_>) -> Option<String> {
        // By the time in the claims, so that key and claims agree around a rotation.
        let signer = &self.signers[self.keyring.signing(claims.iat.saturating_mul(1_000))?];
        let header = Header {
            kid: Some(signer.kid.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        // Encoding fails only for claims that are no JSON.
        jsonwebtoken::encode(&header, claims, &signer.key).ok()
    }

    /// Returns the public key with that `kid`.
    pub(crate) fn verifier(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifiers.get(kid)
    }

    /// Returns the public keys in the format of `/.well-known/jwks.json`.
    pub(crate) fn jwks(&self) -> Value {
        let jwk = |signer: &Signer| json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": signer.kid, "x": signer.x });
        json!({ "keys": self.signers.iter().map(jwk).collect::<Vec<_>>() })
    }

    /// Returns the id of an IP address in the log; all addresses of an IPv6 /64 network share one.
    pub(crate) fn ip(&self, ip: IpAddr) -> ConversationId {
        // An IPv4 address mapped into IPv6 must not get a second limit.
        let tag = match ip.to_canonical() {
            IpAddr::V4(ip) => self.mac("ip", &[&ip.octets()]),
            // A customer usually holds a whole /64, so a limit per address would be no limit.
            IpAddr::V6(ip) => self.mac("ip", &[&ip.octets()[..8]]),
        };
        name(&format!("ip_{}", base32(&tag[..16])))
    }

    /// Returns the hash of a code.
    pub(crate) fn code(&self, challenge: &OtpChallenge, code: &str) -> SecretBytes {
        SecretBytes(self.mac("code", &[&challenge.tag, &challenge.id, code.as_bytes()]))
    }

    /// Returns the id of the user whose identifier the challenge is for.
    pub(crate) fn user(&self, challenge: &OtpChallenge) -> UserId {
        let text = format!("u_{}", base32(&self.mac("user", &[&challenge.tag])[..16]));
        UserId::parse(&text).expect("a prefix and base32 are a well-formed id")
    }

    /// Returns the hash of a refresh token.
    pub(crate) fn token(&self, token: &RefreshToken) -> SecretBytes {
        SecretBytes(self.mac("token", &[&token.line, &token.secret]))
    }

    /// Returns a keyed hash for one purpose. Length prefixes separate the parts.
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

// === impl OtpChallenge ===

impl OtpChallenge {
    /// Creates a challenge with a random code id.
    pub(crate) fn new(ring: &ActiveKeyring, address: &str) -> OtpChallenge {
        let tag = ring.mac("address", &[address.as_bytes()]);
        OtpChallenge {
            tag: std::array::from_fn(|i| tag[i]),
            id: rand::random(),
        }
    }

    /// Returns the id of the identifier in the log.
    pub(crate) fn name(&self) -> ConversationId {
        name(&format!("to_{}", base32(&self.tag)))
    }

    /// Returns the id of the code in the log.
    pub(crate) fn id(&self) -> ClientMessageId {
        id(&self.id)
    }

    /// Returns the sealed form for the client.
    pub(crate) fn seal(&self, ring: &ActiveKeyring) -> String {
        let mac = ring.mac("challenge", &[&self.tag, &self.id]);
        base32(&[&self.tag[..], &self.id, &mac[..8]].concat())
    }

    /// Opens a sealed challenge; `None` if this cluster has not issued it.
    pub(crate) fn open(ring: &ActiveKeyring, text: &str) -> Option<OtpChallenge> {
        // Checked first, so that oversized input is not decoded.
        if text.len() != 64 {
            return None;
        }
        // Sealed in lower case, but the decoder only accepts upper case.
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        let (tag, rest) = bytes.split_first_chunk::<16>()?;
        let (id, mac) = rest.split_first_chunk::<16>()?;
        let expected = ring.mac("challenge", &[tag, id]);
        // Compared in constant time, so that a MAC cannot be guessed byte by byte.
        bool::from(expected[..8].ct_eq(mac)).then_some(OtpChallenge { tag: *tag, id: *id })
    }
}

// === impl RefreshToken ===

impl RefreshToken {
    /// Creates the first token of a new family.
    pub(crate) fn first(user: &UserId) -> RefreshToken {
        RefreshToken {
            line: rand::random(),
            secret: rand::random(),
            user: user.clone(),
        }
    }

    /// Creates another token of the same family.
    pub(crate) fn next(&self) -> RefreshToken {
        RefreshToken {
            secret: rand::random(),
            ..self.clone()
        }
    }

    /// Returns the id of the user in the log.
    pub(crate) fn name(&self) -> ConversationId {
        name(self.user.as_str())
    }

    /// Returns the id of the token family in the log.
    pub(crate) fn id(&self) -> ClientMessageId {
        id(&self.line)
    }

    /// Returns the sealed form for the client.
    pub(crate) fn seal(&self, ring: &ActiveKeyring) -> String {
        let mac = self.mac(ring);
        let user = self.user.as_str().as_bytes();
        let bytes = [&self.line[..], &self.secret, &mac, user].concat();
        format!("rt_{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// Opens a sealed token; `None` if this cluster has not issued it.
    pub(crate) fn open(ring: &ActiveKeyring, text: &str) -> Option<RefreshToken> {
        // Checked first, so that oversized input is not decoded.
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

    fn mac(&self, ring: &ActiveKeyring) -> [u8; 16] {
        let user = self.user.as_str().as_bytes();
        let mac = ring.mac("refresh", &[&self.line, &self.secret, user]);
        std::array::from_fn(|i| mac[i])
    }
}

fn id(bytes: &[u8; 16]) -> ClientMessageId {
    ClientMessageId::parse(&base32(bytes)).expect("base32 is a well-formed cid")
}

fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use crate::conversation::state_machine::login::SigningKey;

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
    fn a_user_id_is_the_same_for_ever_and_depends_on_the_clusters_key() {
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
    fn a_challenge_is_opened_by_the_cluster_that_made_it_and_by_no_other() {
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
}
