//! Keys of the configured issuer, from the settings or a file.

use std::collections::HashMap;
use std::path::Path;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet};

use super::Error;
use crate::config;

/// Keys that verify the tokens of the configured issuer.
pub(super) enum VerificationKeys {
    None,
    One(DecodingKey),
    Named(HashMap<String, DecodingKey>),
}

// === impl VerificationKeys ===

impl VerificationKeys {
    pub(super) fn open(settings: &config::AuthConfig) -> Result<VerificationKeys, Error> {
        // The configuration check permits one source only, so their order does not matter.
        if !settings.secret.is_empty() {
            return Ok(VerificationKeys::One(DecodingKey::from_secret(
                settings.secret.0.as_bytes(),
            )));
        }
        if !settings.public_key_file.is_empty() {
            let (key, path) = ("auth.public_key_file", &settings.public_key_file);
            let pem = read(key, path)?;
            let parsed = match settings.algorithm {
                config::Algorithm::EdDSA => DecodingKey::from_ed_pem(&pem),
                _ => DecodingKey::from_rsa_pem(&pem),
            };
            let parsed = parsed.map_err(|error| Error::unusable(key, path, &error))?;
            return Ok(VerificationKeys::One(parsed));
        }
        if !settings.jwks_file.is_empty() {
            return VerificationKeys::named(settings.algorithm, &settings.jwks_file);
        }
        Ok(VerificationKeys::None)
    }

    fn named(algorithm: config::Algorithm, path: &str) -> Result<VerificationKeys, Error> {
        let key = "auth.jwks_file";
        let set: JwkSet =
            serde_json::from_slice(&read(key, path)?).map_err(|error| Error::unusable(key, path, &error))?;
        let mut named = HashMap::new();
        for jwk in &set.keys {
            let fits = match (&jwk.algorithm, algorithm) {
                (AlgorithmParameters::RSA(_), config::Algorithm::RS256) => true,
                (AlgorithmParameters::OctetKeyPair(pair), config::Algorithm::EdDSA) => {
                    pair.curve == EllipticCurve::Ed25519
                }
                _ => false,
            };
            // Keys for other algorithms are skipped: identity providers publish several in one set.
            if let (true, Some(kid)) = (fits, &jwk.common.key_id) {
                let parsed =
                    DecodingKey::from_jwk(jwk).map_err(|error| Error::unusable(key, path, &error))?;
                named.insert(kid.clone(), parsed);
            }
        }
        if named.is_empty() {
            let reason = format!("the key set has no key with a kid for {algorithm:?}");
            return Err(Error::Unusable {
                key,
                path: path.to_owned(),
                reason,
            });
        }
        Ok(VerificationKeys::Named(named))
    }

    pub(super) fn find(&self, kid: Option<&str>) -> Option<&DecodingKey> {
        match self {
            VerificationKeys::None => None,
            // A single key verifies every token, whatever its `kid`.
            VerificationKeys::One(key) => Some(key),
            VerificationKeys::Named(named) => named.get(kid?),
        }
    }
}

fn read(key: &'static str, path: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(Path::new(path)).map_err(|source| Error::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

impl Error {
    fn unusable(key: &'static str, path: &str, reason: &dyn std::fmt::Display) -> Error {
        Error::Unusable {
            key,
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
