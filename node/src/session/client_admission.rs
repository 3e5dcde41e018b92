//! Admission of a client by its token, for every transport that knows the token before it opens a session.

use std::time::Instant;

use protocol::{CommandCost, ErrorCode, limits};

use super::authenticated_client::AuthenticatedClient;
use super::limits::too_fast;
use super::worker_context::{NodeState, WorkerContext};
use crate::auth::TokenError;
use crate::shard_client::CommandError;

/// Credentials with which a client asks for a session.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    pub token: String,
    /// `None`: the client named no device.
    pub device: Option<String>,
    /// Random per start of the app; `None`: not given.
    pub instance: Option<String>,
}

/// Verifies the token and charges the start of a session. The result opens a new session; with `resume` set it resumes
/// another one.
///
/// # Errors
/// `unavailable` on a node that accepts no sessions or has no keys yet, `bad_request` for a device or an instance that is
/// too long, `unauthenticated` or `token_expired`, and `rate_limited` with the delay before the next attempt.
pub async fn admit_client(
    worker: &WorkerContext,
    credentials: ClientCredentials,
) -> Result<AuthenticatedClient, CommandError> {
    may_open(worker.order())?;
    let ClientCredentials {
        token,
        device,
        instance,
    } = credentials;
    let is_long = |name: &Option<String>| {
        name.as_ref()
            .is_some_and(|name| name.len() > limits::DEVICE_BYTES)
    };
    // Before the token: a malformed request must not cost a verification.
    if is_long(&device) || is_long(&instance) {
        let msg = format!(
            "device and instance are limited to {} bytes each",
            limits::DEVICE_BYTES
        );
        return Err(CommandError::new(ErrorCode::BadRequest, msg));
    }
    let refuse = |refused: TokenError| {
        worker.metrics.auth_failures.inc();
        let code = refused.code();
        CommandError {
            code,
            msg: refused.to_string(),
            retry_ms: code.temporary().then_some(1_000),
        }
    };
    let identity = worker.auth.verify(&token).await.map_err(refuse)?;
    // A token of a device opens no session of another one.
    let device = identity.device_of(device.as_deref()).map_err(refuse)?;
    let now = Instant::now();
    // Charged to the user's account, which outlives connections: reconnecting must not give a full bucket.
    let account = worker.rates.of(&identity.user, now);
    account.take(CommandCost::SESSION, now).map_err(too_fast)?;
    Ok(AuthenticatedClient {
        identity,
        device,
        instance,
        resume: None,
        opened_sender: None,
    })
}

/// Returns an error if a node in this state accepts no sessions.
fn may_open(state: NodeState) -> Result<(), CommandError> {
    let msg = match state {
        NodeState::Serve => return Ok(()),
        NodeState::HandOver | NodeState::Drain => "the node is draining",
        NodeState::Isolated => "the node has lost quorum",
    };
    Err(CommandError {
        code: ErrorCode::Unavailable,
        msg: msg.to_owned(),
        retry_ms: Some(1_000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_serving_node_opens_sessions() {
        assert!(may_open(NodeState::Serve).is_ok());
        for state in [NodeState::HandOver, NodeState::Drain, NodeState::Isolated] {
            let refusal = may_open(state).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::Unavailable);
            assert!(refusal.retry_ms.is_some(), "the client tries another node");
        }
    }
}
