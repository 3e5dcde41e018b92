//! [`FORWARD`](super::FORWARD): request of a client to the node that holds its connection.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Request about a connection of the receiving node → [`ForwardedResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForwardedRequest {
    /// Random part of the connection's id, which nobody can guess.
    pub(crate) connection: u128,
    pub(crate) action: ForwardedAction,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForwardedAction {
    /// Asks whether the client is authenticated.
    Find,
    /// Waits for the next payload to the client. The text is another one for each poll of the client, and the same one
    /// for a repetition of a poll.
    Poll(String),
    /// Hands over a payload of the client.
    Post(String),
    /// Waits further for a payload whose packets were not accepted yet.
    AwaitPost,
}

/// Response of the connection's node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForwardedResponse {
    /// The request was served.
    Served {
        /// True if the client is authenticated.
        is_identified: bool,
        /// Payload to the client; empty unless the request was a poll.
        payload: Bytes,
    },
    /// The node has no such connection.
    Unknown,
    /// The request is refused, and the connection may have ended.
    Refused,
    /// The packets of the payload are not accepted yet.
    Pending,
}

// === impl ForwardedAction ===

impl ForwardedAction {
    /// Returns true if a repetition has no further effect.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self, ForwardedAction::Find | ForwardedAction::Poll(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tests::golden;

    #[test]
    fn forwarded_requests_are_frozen() {
        let request = |action| ForwardedRequest {
            connection: 300,
            action,
        };
        golden(request(ForwardedAction::Find), &[1, 0xac, 2, 0]);
        golden(
            request(ForwardedAction::Poll("t".to_owned())),
            &[1, 0xac, 2, 1, 1, b't'],
        );
        golden(
            request(ForwardedAction::Post("3".to_owned())),
            &[1, 0xac, 2, 2, 1, b'3'],
        );
        golden(request(ForwardedAction::AwaitPost), &[1, 0xac, 2, 3]);
        golden(
            ForwardedResponse::Served {
                is_identified: true,
                payload: Bytes::from_static(b"2"),
            },
            &[1, 0, 1, 1, b'2'],
        );
        golden(ForwardedResponse::Unknown, &[1, 1]);
        golden(ForwardedResponse::Refused, &[1, 2]);
        golden(ForwardedResponse::Pending, &[1, 3]);
    }
}
