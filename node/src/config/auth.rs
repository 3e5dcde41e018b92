//! `[auth]`: whose tokens are believed.

use serde::{Deserialize, Serialize};

use super::load::Problems;
use super::section::section;
use super::units::Secret;

/// How tokens are signed. Fixed here, never taken from a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with a shared secret of at least 32 bytes.
    HS256,
    /// RSA signature, public key in PEM or JWKS.
    RS256,
    /// Ed25519 signature, public key in PEM or JWKS.
    EdDSA,
}

section! {
    /// Tokens of others: JWTs with `sub` (the user) and `exp`. Exactly one of secret, public_key_file and jwks_file is
    /// set, unless dev_tokens is on or `login` gives tokens.
    pub struct Auth {
        /// HS256, RS256 or EdDSA. A token that says otherwise is refused.
        algorithm: Algorithm = Algorithm::HS256,
        /// The shared secret of HS256.
        secret: Secret = Secret::default(),
        /// Public key for RS256 or EdDSA, a PEM file.
        public_key_file: String = String::new(),
        /// Public keys for RS256 or EdDSA, a JWKS file; tokens name theirs by kid.
        jwks_file: String = String::new(),
        /// What `aud` must contain; empty: not looked at.
        audience: String = String::new(),
        /// What `iss` must be; empty: not looked at.
        issuer: String = String::new(),
        /// Tolerated difference of clocks, in seconds; at most 60.
        leeway_s: u64 = 60,
        /// Believe `dev:<user>` from anybody. For development only: it is what `rookery dev` sets.
        dev_tokens: bool = false,
    }
}

// === impl Auth ===

impl Auth {
    /// Reports every value that cannot work; `own` says whether the cluster signs tokens of its own.
    pub(super) fn check(&self, problems: &mut Problems, own: bool) {
        let sources = [
            !self.secret.is_empty(),
            !self.public_key_file.is_empty(),
            !self.jwks_file.is_empty(),
        ];
        match sources.iter().filter(|set| **set).count() {
            0 if !self.dev_tokens && !own => problems.add(
                "auth.secret",
                "no source of tokens: set one of auth.secret, auth.public_key_file, auth.jwks_file, login.webhook_url",
            ),
            0 | 1 => {}
            _ => problems.add(
                "auth.secret",
                "set only one of auth.secret, auth.public_key_file, auth.jwks_file",
            ),
        }
        if !self.secret.is_empty() && self.algorithm != Algorithm::HS256 {
            problems.add(
                "auth.algorithm",
                "auth.secret is for HS256; the others take a public key",
            );
        }
        if (sources[1] || sources[2]) && self.algorithm == Algorithm::HS256 {
            problems.add("auth.algorithm", "must be RS256 or EdDSA with a public key");
        }
        if !self.secret.is_empty() && self.secret.0.len() < 32 {
            problems.add("auth.secret", "must have at least 32 bytes");
        }
        if self.leeway_s > 60 {
            problems.add("auth.leeway_s", "must be at most 60");
        }
    }
}
