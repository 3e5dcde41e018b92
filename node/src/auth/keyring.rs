//! Active keyring of the cluster: hashes, signatures, and the secrets that clients hold.
//!
//! ```text
//! challenge      base32( identifier tag 16 │ code id 16 │ mac 8 )
//! refresh token  rt_ base64url( family 16 │ secret 32 │ mac 16 │ user )
//! device token   dt_ base64url( id 16 │ secret 32 │ mac 16 │ user )
//! user id        u_ base32( hash of the identifier tag 16 )
//! ```
//! The secrets carry a MAC, so that forged ones cost the log nothing. The identifier tag is a keyed hash of the
//! identifier, and the user id a keyed hash of the tag. Neither reveals the identifier, and a challenge does not reveal
//! the user id. All keys are derived from one, the pepper, by purpose.

mod device_token;
mod otp_challenge;
mod refresh_token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use parking_lot::Mutex;
use protocol::UserId;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Notify;

use crate::state_machine::{Keyring, LoginHash, LoginKey, SecretBytes};

pub(crate) use self::device_token::DeviceToken;
pub(crate) use self::otp_challenge::OtpChallenge;
pub(crate) use self::refresh_token::RefreshToken;

/// Prefix of the `kid` of the cluster's own keys.
pub const KID: &str = "rk_";
/// Value of the `iss` claim in the cluster's own tokens.
pub const ISSUER: &str = "rookery";

/// Prefix of the seed of an Ed25519 key in PKCS#8 (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Keyring as last fetched by this node. One per node, updated by `login_service::key_refresh`.
pub struct KeyringCache {
    ring: ArcSwapOption<ActiveKeyring>,
    fetched: Mutex<Option<Instant>>,
    /// Age from which the fetched keyring may be outdated.
    stale: Duration,
    wake: Notify,
    /// True once a device token was requested, which needs keys even without login by code.
    demanded: AtomicBool,
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
            demanded: AtomicBool::new(false),
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

    /// Requests that the cluster gets keys even without login by code.
    pub(crate) fn demand(&self) {
        self.demanded.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Returns true if keys were demanded.
    pub(super) fn is_demanded(&self) -> bool {
        self.demanded.load(Ordering::Relaxed)
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

    /// Returns the key of an IP address in the log; all addresses of an IPv6 /64 network share one.
    pub(crate) fn ip(&self, ip: IpAddr) -> LoginKey {
        // An IPv4 address mapped into IPv6 must not get a second limit.
        let tag = match ip.to_canonical() {
            IpAddr::V4(ip) => self.mac("ip", &[&ip.octets()]),
            // A customer usually holds a whole /64, so a limit per address would be no limit.
            IpAddr::V6(ip) => self.mac("ip", &[&ip.octets()[..8]]),
        };
        LoginKey::Ip(LoginHash(std::array::from_fn(|i| tag[i])))
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

fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
