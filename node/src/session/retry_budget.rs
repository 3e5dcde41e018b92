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
    budget: Duration,
    /// `None` until the first refusal.
    until: Option<Instant>,
}

// === impl RetryBudget ===

impl RetryBudget {
    /// Returns the budget of a command; `None` under a policy without repetitions.
    pub(super) fn of(policy: RefusalPolicy) -> Option<RetryBudget> {
        match policy {
            RefusalPolicy::Answer => None,
            RefusalPolicy::Retry(budget) => Some(RetryBudget { budget, until: None }),
        }
    }

    /// Returns true if the command may be repeated after a refusal with this code.
    pub(super) fn permits(&mut self, code: ErrorCode, now: Instant) -> bool {
        // Rates are waited for before the dispatch; an internal error is reported at once.
        let is_retryable = matches!(
            code,
            ErrorCode::Busy | ErrorCode::Unavailable | ErrorCode::TimeoutUnknown
        );
        is_retryable && now < *self.until.get_or_insert(now + self.budget)
    }
}

/// Returns a random delay before a repetition: clients that were refused together must not return together.
pub(super) fn retry_delay() -> Duration {
    Duration::from_millis(rand::random_range(DELAY_MS))
}

/// Runs `attempt` with the command until its result is final or the budget has passed. The command is copied only under
/// a policy with repetitions.
pub(super) async fn with_retries<C, T, F>(
    policy: RefusalPolicy,
    command: C,
    mut attempt: impl FnMut(C) -> F,
) -> Result<T, CommandError>
where
    C: Clone,
    F: Future<Output = Result<T, CommandError>>,
{
    let Some(mut budget) = RetryBudget::of(policy) else {
        return attempt(command).await;
    };
    loop {
        match attempt(command.clone()).await {
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
        let mut budget = RetryBudget::of(RefusalPolicy::Retry(BUDGET)).unwrap();
        let refused = start + BUDGET * 2;
        assert!(budget.permits(ErrorCode::TimeoutUnknown, refused));
        assert!(budget.permits(ErrorCode::Busy, refused + BUDGET / 2));
        assert!(!budget.permits(ErrorCode::Busy, refused + BUDGET));
    }

    #[test]
    fn permanent_refusals_are_never_repeated() {
        let now = Instant::now();
        let mut budget = RetryBudget::of(RefusalPolicy::Retry(BUDGET)).unwrap();
        for code in [
            ErrorCode::NotMember,
            ErrorCode::Internal,
            ErrorCode::RateLimited,
            ErrorCode::Conflict,
        ] {
            assert!(!budget.permits(code, now), "{code}");
        }
    }

    /// Command that must not be copied.
    struct Precious;

    impl Clone for Precious {
        fn clone(&self) -> Precious {
            unreachable!("a command was copied for a repetition that never comes")
        }
    }

    #[test]
    fn native_clients_receive_the_first_refusal() {
        let mut attempts = 0;
        let result = with_retries(RefusalPolicy::Answer, Precious, |_| {
            attempts += 1;
            std::future::ready(Err::<(), _>(CommandError::unavailable()))
        });
        assert!(result.now_or_never().is_some_and(|result| result.is_err()));
        assert_eq!(attempts, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_command_is_repeated_until_it_succeeds() {
        let mut attempts = 0;
        let result = with_retries(RefusalPolicy::Retry(BUDGET), "command", |command| {
            attempts += 1;
            let is_refused = attempts < 3;
            std::future::ready(if is_refused {
                Err(CommandError::unavailable())
            } else {
                Ok((command, attempts))
            })
        });
        assert_eq!(result.await, Ok(("command", 3)));
    }
}
