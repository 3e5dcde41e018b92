//! Keeps this node's keys fresh: asks the owner for them, and proposes the next step when one is due.
//!
//! Every node does both. Whether a step is due is decided by the log, so of several proposals one counts.

use std::time::{Duration, Instant};

use tracing::debug;

use super::{Login, name};
use crate::conversation::Refusal;
use crate::conversation::route::KEYS;
use crate::conversation::timeline::Login as Step;
use crate::conversation::timeline::login::{Hidden, Pace};

/// The pause while something is missing, and the least between two questions.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(crate) async fn run(login: Login) {
    let poll = login.inner.settings.key_poll_ms.duration();
    loop {
        let began = Instant::now();
        let pause = match refresh(&login).await {
            Ok(()) if login.inner.keys.ring().is_some() || !login.enabled() => poll,
            Ok(()) => AGAIN,
            Err(refusal) => {
                debug!(%refusal, "the keys of the cluster are not known");
                AGAIN
            }
        };
        // Earlier if somebody lacks a key.
        let _ = tokio::time::timeout(pause, login.inner.keys.poked()).await;
        tokio::time::sleep(AGAIN.min(pause).saturating_sub(began.elapsed())).await;
    }
}

async fn refresh(login: &Login) -> Result<(), Refusal> {
    let conversations = &login.inner.conversations;
    login.inner.keys.hear(conversations.keyring().await?);
    if !login.enabled() {
        return Ok(());
    }
    let pace = pace(login);
    let seed = Hidden(rand::random());
    let due = match (login.inner.keys.ring(), conversations.clock().reached_ms()) {
        (Some(ring), Some(reached_ms)) => ring.keyring().clone().turn(reached_ms, pace, &seed),
        (Some(_), None) => false,
        (None, _) => true,
    };
    if due {
        let pepper = Hidden(rand::random());
        let turn = Step::TurnKeys { seed, pepper, pace };
        conversations.login(name(KEYS), None, turn).await?;
        login.inner.keys.hear(conversations.keyring().await?);
    }
    Ok(())
}

fn pace(login: &Login) -> Pace {
    let settings = &login.inner.settings;
    Pace {
        period_ms: settings.key_period_ms.0,
        overlap_ms: settings.key_overlap_ms.0,
        // As long as its last token is accepted, and as much as clocks may differ: less than an overlap.
        keep_ms: settings.access_ms.0 + login.inner.leeway_ms + settings.key_overlap_ms.0,
    }
}
