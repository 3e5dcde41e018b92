//! `[auth]`: verification of access tokens.

use serde::{Deserialize, Serialize};

use super::load::Problems;
use super::section::section;
use super::units::SecretString;

/// Signature algorithm of tokens. It is fixed by configuration; the header of a token cannot choose it.
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
    /// Verification of tokens from an identity provider: JWTs with `sub` (the user) and `exp`. Exactly one of secret
    /// and key_file is set, unless dev_tokens is on or the `login` section issues tokens.
    pub struct AuthConfig {
        /// Signature algorithm: HS256, RS256 or EdDSA. Tokens with another algorithm are refused.
        algorithm: Algorithm = Algorithm::HS256,
        /// Shared secret for HS256, at least 32 bytes.
        secret: SecretString = SecretString::default(),
        /// File with the public key for RS256 or EdDSA in PEM, or with a JWKS, of which tokens select their key by kid.
        key_file: String = String::new(),
        /// Required value of the `aud` claim. Empty: the claim is not checked.
        audience: String = String::new(),
        /// Required value of the `iss` claim. Empty: the claim is not checked.
        issuer: String = String::new(),
        /// Accept `dev:<user>` as a token from any client. For development only; set by `rookery dev`.
        dev_tokens: bool = false,
    }
}

// === impl AuthConfig ===

impl AuthConfig {
    /// Reports invalid values. `own` is true if the cluster signs tokens of its own.
    pub(super) fn check(&self, problems: &mut Problems, own: bool) {
        let (has_secret, has_key) = (!self.secret.is_empty(), !self.key_file.is_empty());
        if !has_secret && !has_key && !self.dev_tokens && !own {
            problems.add(
                "auth.secret",
                "no token source is configured: set one of auth.secret, auth.key_file, login.webhook_url",
            );
        }
        if has_secret && has_key {
            problems.add("auth.secret", "set only one of auth.secret, auth.key_file");
        }
        if has_secret && self.algorithm != Algorithm::HS256 {
            problems.add(
                "auth.algorithm",
                "auth.secret is only for HS256; the other algorithms need a public key",
            );
        }
        if has_key && self.algorithm == Algorithm::HS256 {
            problems.add("auth.algorithm", "must be RS256 or EdDSA with a public key");
        }
        // RFC 7518 requires an HS256 key of at least the size of the hash.
        if has_secret && self.secret.0.len() < 32 {
            problems.add("auth.secret", "must have at least 32 bytes");
        }
    }
}
