//! Key refresh: polls the keyring from its owner, and proposes the next rotation when one is due.
//!
//! Every node does both. The log decides about a rotation, so one of several proposals takes effect.

use std::time::{Duration, Instant};

use tracing::debug;

use super::LoginService;
use crate::shard_client::CommandError;
use crate::state_machine::query::KeyringQuery;
use crate::state_machine::{KeyRotationPolicy, LoginKey, LoginOp as Step, SecretBytes};

/// Pause while keys are missing, and minimum pause between two requests.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(crate) async fn run(login: LoginService) {
    let poll = login.inner.tuning.key_poll_interval.0;
    loop {
        let began = Instant::now();
        let pause = match refresh(&login).await {
            Ok(()) if login.inner.keys.ring().is_some() || !creates_keys(&login) => poll,
            Ok(()) => AGAIN,
            Err(refusal) => {
                debug!(%refusal, "failed to fetch the keyring, will retry");
                AGAIN
            }
        };
        // Ends early when a token with an unknown key arrives, or a login finds no keys.
        let _ = tokio::time::timeout(pause, login.inner.keys.poked()).await;
        // The minimum pause also applies to wake-ups: tokens with invented key ids must not cause a request each.
        tokio::time::sleep(AGAIN.min(pause).saturating_sub(began.elapsed())).await;
    }
}

async fn refresh(login: &LoginService) -> Result<(), CommandError> {
    let conversations = &login.inner.conversations;
    login.inner.keys.update(conversations.query(&KeyringQuery).await?);
    if !creates_keys(login) {
        return Ok(());
    }
    let pace = pace(login);
    let seed = SecretBytes(rand::random());
    // Computed on a copy, so that only a due rotation costs a proposal. Without the majority's time nothing is due.
    let due = match (login.inner.keys.ring(), conversations.clock().reached_ms()) {
        (Some(ring), Some(reached_ms)) => ring.keyring().clone().turn(reached_ms, pace, &seed),
        (Some(_), None) => false,
        (None, _) => true,
    };
    if due {
        let pepper = SecretBytes(rand::random());
        let turn = Step::TurnKeys { seed, pepper, pace };
        conversations.login(LoginKey::Keyring, turn).await?;
        // Read again at once: the first keyring then enables logins without the delay of a poll.
        login.inner.keys.update(conversations.query(&KeyringQuery).await?);
    }
    Ok(())
}

fn creates_keys(login: &LoginService) -> bool {
    login.enabled() || login.inner.keys.is_demanded()
}

fn pace(login: &LoginService) -> KeyRotationPolicy {
    let tuning = &login.inner.tuning;
    let access_token_ms = login.inner.settings.access_token_ttl.as_millis();
    KeyRotationPolicy {
        period_ms: tuning.key_period.as_millis(),
        overlap_ms: tuning.key_overlap.as_millis(),
        // Covers the acceptance of the key's last token, and the difference of clocks, which is less than an overlap.
        keep_ms: access_token_ms + tuning.token_leeway.as_millis() + tuning.key_overlap.as_millis(),
    }
}
