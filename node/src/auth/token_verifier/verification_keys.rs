//! Keys of the configured issuer, from the settings or a file.

use std::collections::HashMap;
use std::path::Path;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use serde::Deserialize;
use serde_json::Value;

use super::Error;
use crate::config;

/// Setting with the path of the file.
const KEY: &str = "auth.key_file";

/// Keys that verify the tokens of the configured issuer.
pub(super) enum VerificationKeys {
    None,
    One(DecodingKey),
    Named(HashMap<String, DecodingKey>),
}

/// JWKS whose keys are read one by one: those that are not understood are skipped (RFC 7517, section 5).
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Format of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyFormat {
    /// One public key, for every token.
    Pem,
    /// Public keys, of which tokens name one by its id.
    Jwks,
}

// === impl VerificationKeys ===

impl VerificationKeys {
    pub(super) fn open(settings: &config::AuthConfig) -> Result<VerificationKeys, Error> {
        // The configuration check permits one source only, so their order does not matter.
        // An empty secret is no key.
        if let Ok(key) = DecodingKey::from_secret(settings.secret.0.as_bytes()) {
            return Ok(VerificationKeys::One(key));
        }
        if settings.key_file.is_empty() {
            return Ok(VerificationKeys::None);
        }
        let path = settings.key_file.as_str();
        let content = std::fs::read(Path::new(path)).map_err(|source| Error::Unreadable {
            key: KEY,
            path: path.to_owned(),
            source,
        })?;
        let keys = match KeyFormat::of(&content) {
            Some(KeyFormat::Pem) => VerificationKeys::pem(settings.algorithm, &content),
            Some(KeyFormat::Jwks) => VerificationKeys::jwks(settings.algorithm, &content),
            None => Err(
                "neither a public key in PEM (-----BEGIN PUBLIC KEY-----) nor a JWKS \
                         ({\"keys\": […]})"
                    .to_owned(),
            ),
        };
        keys.map_err(|reason| Error::Unusable {
            key: KEY,
            path: path.to_owned(),
            reason,
        })
    }

    fn pem(algorithm: config::Algorithm, pem: &[u8]) -> Result<VerificationKeys, String> {
        let parsed = match algorithm {
            config::Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
            _ => DecodingKey::from_rsa_pem(pem),
        };
        let parsed =
            parsed.map_err(|error| format!("the PEM has no public key for {algorithm:?}: {error}"))?;
        Ok(VerificationKeys::One(parsed))
    }

    fn jwks(algorithm: config::Algorithm, json: &[u8]) -> Result<VerificationKeys, String> {
        let set: KeySet =
            serde_json::from_slice(json).map_err(|error| format!("the JSON is no JWKS: {error}"))?;
        let mut named = HashMap::new();
        for jwk in set.keys {
            let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else {
                continue;
            };
            let fits = match (&jwk.algorithm, algorithm) {
                (AlgorithmParameters::RSA(_), config::Algorithm::RS256) => true,
                (AlgorithmParameters::OctetKeyPair(pair), config::Algorithm::EdDSA) => {
                    pair.curve == EllipticCurve::Ed25519
                }
                _ => false,
            };
            // Keys for other algorithms are skipped: identity providers publish several in one set.
            if let (true, Some(kid)) = (fits, &jwk.common.key_id) {
                let parsed = DecodingKey::from_jwk(&jwk).map_err(|error| format!("key {kid}: {error}"))?;
                named.insert(kid.clone(), parsed);
            }
        }
        if named.is_empty() {
            return Err(format!("the JWKS has no key with a kid for {algorithm:?}"));
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

// === impl KeyFormat ===

impl KeyFormat {
    /// Recognizes the format by the content. PEM permits text before its first line, and JSON space before its first
    /// brace.
    fn of(content: &[u8]) -> Option<KeyFormat> {
        if content.trim_ascii_start().starts_with(b"{") {
            return Some(KeyFormat::Jwks);
        }
        let begin: &[u8] = b"-----BEGIN ";
        let has_begin = content.windows(begin.len()).any(|bytes| bytes == begin);
        has_begin.then_some(KeyFormat::Pem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of other types, curves and algorithms, and one without what its type requires.
    const OTHERS: &str = r#"{"kty":"AKP","kid":"pq","alg":"ML-DSA-44","pub":"AAAA"},
        {"kty":"OKP","kid":"448","crv":"Ed448","x":"AAAA"},
        {"kty":"OKP","kid":"new","crv":"Curve of 2030","x":"AAAA"},
        {"kty":"EC","kid":"k1","crv":"secp256k1","x":"AAAA","y":"AAAA"},
        {"kty":"RSA","kid":"half","n":"AAAA"},
        {"kid":"nothing"}"#;
    const ED25519: &str = r#"{"kty":"OKP","kid":"ours","use":"sig","alg":"EdDSA","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn a_key_of_an_unknown_kind_is_skipped() {
        let of = |keys: &str| {
            let json = format!(r#"{{"keys":[{keys}]}}"#);
            VerificationKeys::jwks(config::Algorithm::EdDSA, json.as_bytes())
        };
        let Ok(VerificationKeys::Named(named)) = of(&format!("{OTHERS},{ED25519},{OTHERS}")) else {
            panic!("the set has a key for EdDSA");
        };
        assert_eq!(named.keys().collect::<Vec<_>>(), ["ours"]);
        let refused = of(OTHERS).err().unwrap();
        assert_eq!(refused, "the JWKS has no key with a kid for EdDSA");
    }

    #[test]
    fn key_file_is_recognized_by_its_content() {
        let of = |content: &str| KeyFormat::of(content.as_bytes());
        assert_eq!(of("-----BEGIN PUBLIC KEY-----\n"), Some(KeyFormat::Pem));
        assert_eq!(of("of 2026\n-----BEGIN PUBLIC KEY-----\n"), Some(KeyFormat::Pem));
        assert_eq!(of("\r\n {\"keys\":[]}"), Some(KeyFormat::Jwks));
        assert_eq!(of(""), None);
        assert_eq!(of("MCowBQYDK2VwAyEA"), None);
        assert_eq!(of("<html>"), None);
    }
}
