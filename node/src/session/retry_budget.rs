//! Repetition of temporarily refused commands by the session, for clients without retries.

use std::time::{Duration, Instant};

use protocol::ErrorCode;

use super::transport_policy::RefusalPolicy;
use crate::shard_client::CommandError;

/// Bounds of the delay before a repetition, in milliseconds.
const DELAY_MS: std::ops::RangeInclusive<u64> = 100..=800;

/// Time that remains for the repetitions of one command. It begins with the first refusal, because the attempt itself
/// may have taken as long as the budget. Pure: time is an argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryBudget {
    policy: RefusalPolicy,
    /// `None` until the first refusal.
    until: Option<Instant>,
}

// === impl RetryBudget ===

impl RetryBudget {
    pub(super) fn new(policy: RefusalPolicy) -> RetryBudget {
        RetryBudget { policy, until: None }
    }

    /// Returns true if the command may be repeated after a refusal with this code.
    pub(super) fn permits(&mut self, code: ErrorCode, now: Instant) -> bool {
        let RefusalPolicy::Retry(budget) = self.policy else {
            return false;
        };
        // Rates are waited for before the dispatch; an internal error is reported at once.
        let is_retryable = matches!(
            code,
            ErrorCode::Busy | ErrorCode::Unavailable | ErrorCode::TimeoutUnknown
        );
        is_retryable && now < *self.until.get_or_insert(now + budget)
    }
}

/// Returns a random delay before a repetition: clients that were refused together must not return together.
pub(super) fn retry_delay() -> Duration {
    Duration::from_millis(rand::random_range(DELAY_MS))
}

/// Runs `attempt` until its result is final or the budget has passed.
pub(super) async fn with_retries<T, F>(
    policy: RefusalPolicy,
    mut attempt: impl FnMut() -> F,
) -> Result<T, CommandError>
where
    F: Future<Output = Result<T, CommandError>>,
{
    let mut budget = RetryBudget::new(policy);
    loop {
        match attempt().await {
            Err(refusal) if budget.permits(refusal.code, Instant::now()) => {
                tokio::time::sleep(retry_delay()).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const BUDGET: Duration = Duration::from_secs(10);

    #[test]
    fn budget_begins_with_the_first_refusal() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(RefusalPolicy::Retry(BUDGET));
        let refused = start + BUDGET * 2;
        assert!(budget.permits(ErrorCode::TimeoutUnknown, refused));
        assert!(budget.permits(ErrorCode::Busy, refused + BUDGET / 2));
        assert!(!budget.permits(ErrorCode::Busy, refused + BUDGET));
    }

    #[test]
    fn permanent_refusals_are_never_repeated() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(RefusalPolicy::Retry(BUDGET));
        for code in [
            ErrorCode::NotMember,
            ErrorCode::Internal,
            ErrorCode::RateLimited,
            ErrorCode::Conflict,
        ] {
            assert!(!budget.permits(code, now), "{code}");
        }
    }

    #[test]
    fn native_clients_receive_the_first_refusal() {
        let mut attempts = 0;
        let result = with_retries(RefusalPolicy::Answer, || {
            attempts += 1;
            std::future::ready(Err::<(), _>(CommandError::unavailable()))
        });
        assert!(result.now_or_never().is_some_and(|result| result.is_err()));
        assert_eq!(attempts, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_command_is_repeated_until_it_succeeds() {
        let mut attempts = 0;
        let result = with_retries(RefusalPolicy::Retry(BUDGET), || {
            attempts += 1;
            let is_refused = attempts < 3;
            std::future::ready(if is_refused {
                Err(CommandError::unavailable())
            } else {
                Ok(attempts)
            })
        });
        assert_eq!(result.await, Ok(3));
    }
}
