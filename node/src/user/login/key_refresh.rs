//! Key refresh: polls the keyring from its owner, and proposes the next rotation when one is due.
//!
//! Every node does both. The log decides about a rotation, so one of several proposals takes effect.

use std::time::{Duration, Instant};

use tracing::debug;

use super::{LoginService, name};
use crate::conversation::CommandError;
use crate::conversation::shard_client::KEYS;
use crate::conversation::state_machine::LoginCommand as Step;
use crate::conversation::state_machine::login::{KeyRotationPolicy, SecretBytes};

/// Pause while keys are missing, and minimum pause between two requests.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(crate) async fn run(login: LoginService) {
    let poll = login.inner.settings.key_poll_ms.duration();
    loop {
        let began = Instant::now();
        let pause = match refresh(&login).await {
            Ok(()) if login.inner.keys.ring().is_some() || !login.enabled() => poll,
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
    login.inner.keys.update(conversations.keyring().await?);
    if !login.enabled() {
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
        conversations.login(name(KEYS), None, turn).await?;
        // Read again at once: the first keyring then enables logins without the delay of a poll.
        login.inner.keys.update(conversations.keyring().await?);
    }
    Ok(())
}

fn pace(login: &LoginService) -> KeyRotationPolicy {
    let settings = &login.inner.settings;
    KeyRotationPolicy {
        period_ms: settings.key_period_ms.0,
        overlap_ms: settings.key_overlap_ms.0,
        // Covers the acceptance of the key's last token, and the difference of clocks, which is less than an overlap.
        keep_ms: settings.access_ms.0 + login.inner.leeway_ms + settings.key_overlap_ms.0,
    }
}
