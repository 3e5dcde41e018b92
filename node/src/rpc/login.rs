//! [`ENDED`](super::ENDED): logins that are over.

use protocol::{Cid, UserId};
use serde::{Deserialize, Serialize};

/// Logins of a user have ended: their access tokens are refused, and their sessions are over, also those that wait for
/// their client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// The user.
    pub(crate) user: UserId,
    /// Which logins.
    pub(crate) logins: Vec<Cid>,
    /// All sessions that came from any login of the user are over, whichever it was.
    pub(crate) all: bool,
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn what_every_node_is_told_is_frozen() {
        golden(
            Ended {
                user: UserId::parse("u").unwrap(),
                logins: vec![Cid::parse("x").unwrap()],
                all: true,
            },
            &[1, 1, b'u', 1, 1, b'x', 1],
        );
    }
}
