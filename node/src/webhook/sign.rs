//! The signature of a post, as [Standard Webhooks](https://www.standardwebhooks.com) has it: HMAC-SHA256 over the id, the
//! time and the body, so that neither can be changed and an old post can't be sent again later.
//!
//! ```text
//! webhook-id:        otp_01J8…
//! webhook-timestamp: 1767225600
//! webhook-signature: v1,base64(hmac-sha256(key, id "." timestamp "." body))
//! ```

use std::borrow::Cow;
use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The shortest and the longest key, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The key that both sides know. Never printed.
#[derive(Clone)]
pub struct Key(Vec<u8>);

/// A setting that can't be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(Cow<'static, str>);

/// What a signed post says in its headers.
pub(super) struct Signed {
    pub(super) id: String,
    pub(super) timestamp: u64,
    pub(super) signature: String,
}

// === impl Unusable ===

impl<T: Into<Cow<'static, str>>> From<T> for Unusable {
    fn from(why: T) -> Unusable {
        Unusable(why.into())
    }
}

// === impl Key ===

impl Key {
    /// Reads a key: base64 of 24 to 64 bytes, `whsec_` in front or not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Key, Unusable> {
        let digits = text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=');
        let key = BASE64_NOPAD
            .decode(digits.as_bytes())
            .map_err(|_| Unusable::from("must be base64, as `openssl rand -base64 32` prints it"))?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(Unusable::from("must be base64 of 24 to 64 bytes"));
        }
        Ok(Key(key))
    }

    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> Signed {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length is a key");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        let signature = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
        Signed {
            id: id.to_owned(),
            timestamp,
            signature,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        // The example of the specification, as every library of it is tested with.
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(
            signed.signature,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_key_is_base64_of_enough_bytes() {
        assert!(Key::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
        assert!(Key::parse("mYHEPEZLoc9eMbLjNAY9PLmrmLvTO0B1wqhK7a0ZvWU=").is_ok());
        for bad in ["", "whsec_", "a secret that is a sentence", "MfKQ9r8GKYqrTw=="] {
            assert!(Key::parse(bad).is_err(), "{bad}");
        }
        let key = Key::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{key:?}"), "***");
    }
}
