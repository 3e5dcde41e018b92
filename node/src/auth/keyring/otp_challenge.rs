//! Challenge of a code: its form in the log, and the sealed form that the client holds.

use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;

use super::{ActiveKeyring, base32};
use crate::state_machine::{LoginCodeId, LoginHash, LoginKey};

/// Id of a code and tag of its identifier; clients hold it in sealed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtpChallenge {
    pub(super) tag: [u8; 16],
    pub(super) id: [u8; 16],
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

    /// Returns the key of the identifier in the log.
    pub(crate) fn key(&self) -> LoginKey {
        LoginKey::Identifier(LoginHash(self.tag))
    }

    /// Returns the id of the code in the log.
    pub(crate) fn id(&self) -> LoginCodeId {
        LoginCodeId(self.id)
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
