//! Refresh token: its form in the log, and the sealed form that the client holds.

use data_encoding::BASE64URL_NOPAD;
use protocol::UserId;
use subtle::ConstantTimeEq;

use super::ActiveKeyring;
use crate::state_machine::{LoginKey, TokenFamilyId};

/// Refresh token of a token family.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(super) line: [u8; 16],
    pub(super) secret: [u8; 32],
    pub(crate) user: UserId,
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

    /// Returns the key of the user in the log.
    pub(crate) fn key(&self) -> LoginKey {
        LoginKey::User(self.user.clone())
    }

    /// Returns the id of the token family in the log.
    pub(crate) fn id(&self) -> TokenFamilyId {
        TokenFamilyId(self.line)
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
