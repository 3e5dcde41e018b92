//! Device token: its form in the log, and the sealed form that the device holds.

use data_encoding::BASE64URL_NOPAD;
use protocol::UserId;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::ActiveKeyring;
use crate::state_machine::{LoginKey, SecretBytes, TokenFamilyId};

/// Prefix of every device token, which no JWT has.
const PREFIX: &str = "dt_";

/// Token of a device with a fixed password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DeviceToken {
    id: [u8; 16],
    secret: [u8; 32],
    pub(crate) user: UserId,
}

// === impl DeviceToken ===

impl DeviceToken {
    /// Creates a token of a user.
    pub(crate) fn new(ring: &ActiveKeyring, user: &UserId) -> DeviceToken {
        DeviceToken {
            id: DeviceToken::id_of(ring, user, rand::random()),
            secret: rand::random(),
            user: user.clone(),
        }
    }

    /// Returns true if the id is one of a token of this user, present or past. The rows cannot tell: those of revoked
    /// tokens are gone, and a repeated revocation must have its effect again, on the user's own tokens only.
    pub(crate) fn is_of(ring: &ActiveKeyring, user: &UserId, id: TokenFamilyId) -> bool {
        let random = std::array::from_fn(|i| id.0[i]);
        DeviceToken::id_of(ring, user, random).ct_eq(&id.0).into()
    }

    fn id_of(ring: &ActiveKeyring, user: &UserId, random: [u8; 8]) -> [u8; 16] {
        let mac = ring.mac("device id", &[user.as_str().as_bytes(), &random]);
        std::array::from_fn(|i| if i < 8 { random[i] } else { mac[i] })
    }

    /// Returns true if the text is a device token by its prefix.
    pub(crate) fn is_prefix_of(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Returns the hash of a sealed token, the only form of it that is stored.
    pub(crate) fn hash(text: &str) -> SecretBytes {
        SecretBytes(Sha256::digest(text.as_bytes()).into())
    }

    /// Returns the key of the user in the log.
    pub(crate) fn key(&self) -> LoginKey {
        LoginKey::User(self.user.clone())
    }

    /// Returns the id of the token in the log.
    pub(crate) fn id(&self) -> TokenFamilyId {
        TokenFamilyId(self.id)
    }

    /// Returns the sealed form for the device.
    pub(crate) fn seal(&self, ring: &ActiveKeyring) -> String {
        let mac = self.mac(ring);
        let user = self.user.as_str().as_bytes();
        let bytes = [&self.id[..], &self.secret, &mac, user].concat();
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// Opens a sealed token; `None` if this cluster has not issued it.
    pub(crate) fn open(ring: &ActiveKeyring, text: &str) -> Option<DeviceToken> {
        // Checked first, so that oversized input is not decoded.
        if text.len() > 256 {
            return None;
        }
        let bytes = BASE64URL_NOPAD
            .decode(text.strip_prefix(PREFIX)?.as_bytes())
            .ok()?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (secret, rest) = rest.split_first_chunk::<32>()?;
        let (mac, user) = rest.split_first_chunk::<16>()?;
        let token = DeviceToken {
            id: *id,
            secret: *secret,
            user: UserId::parse(std::str::from_utf8(user).ok()?).ok()?,
        };
        bool::from(token.mac(ring).ct_eq(mac)).then_some(token)
    }

    fn mac(&self, ring: &ActiveKeyring) -> [u8; 16] {
        let user = self.user.as_str().as_bytes();
        let mac = ring.mac("device", &[&self.id, &self.secret, user]);
        std::array::from_fn(|i| mac[i])
    }
}
