//! [`ENDED`](super::ENDED) and [`USER_ACCESS_CHANGED`](super::USER_ACCESS_CHANGED): broadcasts of revoked logins and of
//! changed access.

use protocol::{ClientMessageId, UserId};
use serde::{Deserialize, Serialize};

/// Revoked logins of a user: their access tokens are refused and their sessions end, detached ones included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginsRevoked {
    pub(crate) user: UserId,
    pub(crate) logins: Vec<ClientMessageId>,
}

/// Change of the access of a user: cached answers about it are outdated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserAccessChanged {
    pub(crate) user: UserId,
    /// Logins that the change has ended.
    pub(crate) logins: Vec<ClientMessageId>,
    /// True if all sessions of the user end, detached ones included.
    pub(crate) closes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tests::golden;

    #[test]
    fn the_encoding_of_broadcasts_is_frozen() {
        golden(
            LoginsRevoked {
                user: UserId::parse("u").unwrap(),
                logins: vec![ClientMessageId::parse("x").unwrap()],
            },
            &[1, 1, b'u', 1, 1, b'x'],
        );
        golden(
            UserAccessChanged {
                user: UserId::parse("u").unwrap(),
                logins: vec![ClientMessageId::parse("x").unwrap()],
                closes: true,
            },
            &[1, 1, b'u', 1, 1, b'x', 1],
        );
    }
}
