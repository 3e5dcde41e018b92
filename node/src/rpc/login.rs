//! [`ENDED`](super::ENDED): broadcast of revoked logins; and the query for device tokens.

use protocol::{ClientMessageId, UserId};
use serde::{Deserialize, Serialize};

use crate::state_machine::{DeviceTokenEntry, SecretBytes, TokenFamilyId};

/// Revoked logins of a user: their access tokens are refused and their sessions end, detached ones included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginsRevoked {
    pub(crate) user: UserId,
    pub(crate) logins: Vec<ClientMessageId>,
    /// True if all sessions of the user that came from any login end.
    pub(crate) all: bool,
}

/// Query for the device tokens of a user → [`Devices`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevicesQuery {
    pub(crate) user: UserId,
    /// Id and hash of the only token that is returned, for its verification; `None` for all tokens.
    pub(crate) presented: Option<(TokenFamilyId, SecretBytes)>,
}

/// Device tokens in the order of their ids. Expired ones may be among them.
pub(crate) type Devices = Vec<DeviceTokenEntry>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tests::golden;

    #[test]
    fn the_encoding_of_the_query_for_devices_is_frozen() {
        let user = UserId::parse("u").unwrap();
        let id = TokenFamilyId([7; 16]);
        let all = DevicesQuery {
            user: user.clone(),
            presented: None,
        };
        golden(all, &[1, 1, b'u', 0]);
        let one = DevicesQuery {
            user,
            presented: Some((id, SecretBytes([8; 32]))),
        };
        golden(one, &[&[1, 1, b'u', 1][..], &[7; 16], &[8; 32]].concat());
        let entry = DeviceTokenEntry {
            id,
            device: "d".into(),
            name: Some("n".into()),
            created_ms: 3,
            expires_ms: 4,
        };
        let bytes = [&[1, 1][..], &[7; 16], &[1, b'd', 1, 1, b'n', 3, 4]].concat();
        golden::<Devices>(vec![entry], &bytes);
    }

    #[test]
    fn the_encoding_of_broadcasts_is_frozen() {
        golden(
            LoginsRevoked {
                user: UserId::parse("u").unwrap(),
                logins: vec![ClientMessageId::parse("x").unwrap()],
                all: true,
            },
            &[1, 1, b'u', 1, 1, b'x', 1],
        );
    }
}
