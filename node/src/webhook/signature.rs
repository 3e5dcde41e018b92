//! Signature of a post as [Standard Webhooks](https://www.standardwebhooks.com) specifies: HMAC-SHA256 over the id, the
//! timestamp and the body. It prevents changes, and replays after the receiver's time tolerance.
//!
//! ```text
//! webhook-id:        otp_01J8…
//! webhook-timestamp: 1767225600
//! webhook-signature: v1,base64(hmac-sha256(key, id "." timestamp "." body))
//! ```

use std::borrow::Cow;
use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config;

/// Key shared with the receiver. Never printed.
#[derive(Clone)]
pub struct SigningSecret(Vec<u8>);

/// Setting that cannot be used, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnusableSecret(Cow<'static, str>);

/// Header values of a signed post.
pub(super) struct SignedHeaders {
    pub(super) id: String,
    pub(super) timestamp: u64,
    pub(super) signature: String,
}

// === impl UnusableSecret ===

impl<T: Into<Cow<'static, str>>> From<T> for UnusableSecret {
    fn from(why: T) -> UnusableSecret {
        UnusableSecret(why.into())
    }
}

// === impl SigningSecret ===

impl SigningSecret {
    /// Parses a key: base64 of 24 to 64 bytes, with or without the prefix `whsec_`.
    ///
    /// # Errors
    /// Text that is no base64, or a key of another length.
    pub fn parse(text: &str) -> Result<SigningSecret, UnusableSecret> {
        Ok(SigningSecret(config::signing_key(text)?))
    }

    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> SignedHeaders {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length is a key");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        let signature = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
        SignedHeaders {
            id: id.to_owned(),
            timestamp,
            signature,
        }
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        // Test vector of the specification, which its libraries use as well.
        let key = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(
            signed.signature,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn the_library_of_the_specification_verifies_a_signature() {
        use std::time::{SystemTime, UNIX_EPOCH};

        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let key = SigningSecret::parse(secret).unwrap();
        let library = standardwebhooks::Webhook::new(secret).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for body in ["", "{}", r#"{"text":"é 🎉\n"}"#] {
            let signed = key.sign("code_1", now, body.as_bytes());
            let headers = [
                ("webhook-id", signed.id),
                ("webhook-timestamp", signed.timestamp.to_string()),
                ("webhook-signature", signed.signature),
            ];
            let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let headers = hyper::HeaderMap::from_iter(headers);
            library.verify(body.as_bytes(), &headers).unwrap();
            assert!(library.verify(format!("{body} ").as_bytes(), &headers).is_err());
        }
    }

    #[test]
    fn a_key_is_base64_of_enough_bytes() {
        assert!(SigningSecret::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
        assert!(SigningSecret::parse("mYHEPEZLoc9eMbLjNAY9PLmrmLvTO0B1wqhK7a0ZvWU=").is_ok());
        for bad in ["", "whsec_", "a secret that is a sentence", "MfKQ9r8GKYqrTw=="] {
            assert!(SigningSecret::parse(bad).is_err(), "{bad}");
        }
        let key = SigningSecret::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{key:?}"), "***");
    }
}
