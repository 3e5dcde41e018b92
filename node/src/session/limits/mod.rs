//! Limits of a session's commands: rates, unanswered commands, order of sends and typing.

mod in_flight_limit;
mod rate_limit;
mod send_order_guard;
mod typing_throttle;
mod user_rates;

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ClientMessageId, CommandCost, ConversationId, ErrorCode};

use crate::shard_client::CommandError;

use in_flight_limit::InFlightLimit;
pub use rate_limit::TokenBucket;
use send_order_guard::SendOrderGuard;
pub(crate) use user_rates::TYPING_PER_SECOND;
pub use user_rates::{Account, RateLimits, UserRates};

/// Maximum number of commands before authentication: an `auth`, some retries, and a few mistakes.
const BEFORE_AUTH: u32 = 16;

/// Limits of one session's commands. Pure: time is an argument.
pub(super) struct CommandLimits {
    /// `None` until the client is authenticated.
    account: Option<Arc<Account>>,
    /// Commands received before authentication.
    unauthenticated: u32,
    /// Cost of the command being dispatched.
    cost: CommandCost,
    /// True if that command was charged before its dispatch.
    is_charged: bool,
    in_flight: InFlightLimit,
    order: SendOrderGuard,
}

// === impl CommandLimits ===

impl CommandLimits {
    /// Creates the limits of an unauthenticated client. `hold`: maximum time for which a refused send holds later ones.
    pub(super) fn new(hold: Duration) -> CommandLimits {
        CommandLimits {
            account: None,
            unauthenticated: 0,
            cost: CommandCost::CHANGE,
            is_charged: false,
            in_flight: InFlightLimit::default(),
            order: SendOrderGuard::new(hold),
        }
    }

    /// Sets the account of the authenticated user.
    pub(super) fn identify(&mut self, account: Arc<Account>) {
        self.account = Some(account);
    }

    /// Counts a received command, refused or not. Returns false if the client exceeds its rate for too long.
    pub(super) fn accepts(&mut self, cost: CommandCost, now: Instant) -> bool {
        self.cost = cost;
        match &self.account {
            Some(account) => !account.note(cost.rate, now),
            None => {
                self.unauthenticated += 1;
                self.unauthenticated <= BEFORE_AUTH
            }
        }
    }

    /// Charges the next command before its dispatch, which then charges nothing.
    ///
    /// # Errors
    /// Time until the command can be charged.
    pub(super) fn charge_ahead(&mut self, cost: CommandCost, now: Instant) -> Result<(), Duration> {
        if let Some(account) = &self.account {
            account.take(cost, now)?;
            self.is_charged = true;
        }
        Ok(())
    }

    /// Charges the command that is being dispatched.
    ///
    /// # Errors
    /// Refusal of a command above the rate.
    pub(super) fn charge(&mut self, now: Instant) -> Result<(), CommandError> {
        if std::mem::take(&mut self.is_charged) {
            return Ok(());
        }
        // Without an account only `auth` is accepted, and the number of attempts is limited.
        self.account
            .as_ref()
            .map_or(Ok(()), |account| account.take(self.cost, now))
            .map_err(too_fast)
    }

    /// Admits and charges a send.
    ///
    /// # Errors
    /// Refusal of a send above the rate, or behind a refused one.
    pub(super) fn admit_send(
        &mut self,
        conv: &ConversationId,
        cid: &ClientMessageId,
        now: Instant,
    ) -> Result<(), CommandError> {
        // Before the rate limit: a send behind a refused one must not overtake it, even if it could be charged.
        if let Err(wait) = self.order.admit(conv, cid, now) {
            return Err(CommandError {
                code: ErrorCode::Busy,
                msg: "an earlier message was refused: send it again first".to_owned(),
                retry_ms: Some(millis_up(wait)),
            });
        }
        // Refused here as well as by an owner: later sends must not overtake this one.
        self.charge(now)
            .inspect_err(|_| self.order.refuse(conv, cid, now))
    }

    /// Holds later sends of the conversation until the client repeats this one, which an owner refused temporarily.
    pub(super) fn hold_sends(&mut self, conv: &ConversationId, cid: &ClientMessageId, now: Instant) {
        self.order.refuse(conv, cid, now);
    }

    /// Returns true if the typing event is to be forwarded. One above the rate is dropped.
    pub(super) fn forwards_typing(&self, conv: &ConversationId, on: bool, now: Instant) -> bool {
        self.account
            .as_ref()
            .is_some_and(|account| account.typing(conv, on, now))
    }

    /// Returns true if another command may be dispatched, with at most `max_sends` unacknowledged ones.
    pub(super) fn has_room(&self, max_sends: usize) -> bool {
        self.in_flight.has_room(max_sends)
    }

    /// Returns true if no command is unanswered.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Counts a submitted change of this size in bytes.
    pub(super) fn begin_change(&mut self, bytes: usize) {
        self.in_flight.change(bytes);
    }

    /// Releases a change of this size after its response.
    pub(super) fn end_change(&mut self, bytes: usize) {
        self.in_flight.changed(bytes);
    }

    /// Counts a query in progress.
    pub(super) fn begin_query(&mut self) {
        self.in_flight.query();
    }

    /// Releases a query after its response.
    pub(super) fn end_query(&mut self) {
        self.in_flight.answered();
    }
}

/// Refusal of a command that exceeds the rate limit.
pub(crate) fn too_fast(wait: Duration) -> CommandError {
    CommandError {
        code: ErrorCode::RateLimited,
        msg: "too many commands".to_owned(),
        retry_ms: Some(millis_up(wait)),
    }
}

/// Rounds up to whole milliseconds, at least one.
fn millis_up(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1_000))
        .unwrap_or(u64::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(5);

    fn limits_of(sends_per_s: u32, burst: u32, now: Instant) -> CommandLimits {
        let rates = UserRates::new(RateLimits::sends(sends_per_s, burst));
        let mut limits = CommandLimits::new(HOLD);
        limits.identify(rates.of(&"alice".parse().unwrap(), now));
        limits
    }

    fn cid(text: &str) -> ClientMessageId {
        ClientMessageId::parse(text).unwrap()
    }

    #[test]
    fn commands_before_authentication_are_bounded() {
        let mut limits = CommandLimits::new(HOLD);
        let now = Instant::now();
        let accepted = (0..100).filter(|_| limits.accepts(CommandCost::CHANGE, now));
        assert_eq!(accepted.count(), BEFORE_AUTH as usize);
        assert!(limits.charge(now).is_ok(), "attempts are bounded instead");
    }

    #[test]
    fn rate_limited_send_holds_later_ones_until_it_is_repeated() {
        let now = Instant::now();
        let mut limits = limits_of(1, 1, now);
        let conv = ConversationId::parse("g_1").unwrap();
        limits.accepts(CommandCost::CHANGE, now);
        assert!(limits.admit_send(&conv, &cid("a"), now).is_ok());
        let refused = limits.admit_send(&conv, &cid("b"), now).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_ms),
            (ErrorCode::RateLimited, Some(1_000))
        );
        let later = now + Duration::from_secs(2);
        let held = limits.admit_send(&conv, &cid("c"), later).unwrap_err();
        assert_eq!((held.code, held.retry_ms), (ErrorCode::Busy, Some(3_000)));
        assert!(limits.admit_send(&conv, &cid("b"), later).is_ok());
    }

    #[test]
    fn command_charged_ahead_is_not_charged_again() {
        let now = Instant::now();
        let mut limits = limits_of(1, 2, now);
        assert!(limits.charge_ahead(CommandCost::CHANGE, now).is_ok());
        limits.accepts(CommandCost::CHANGE, now);
        assert!(limits.charge(now).is_ok());
        assert!(limits.charge_ahead(CommandCost::CHANGE, now).is_ok());
        limits.accepts(CommandCost::CHANGE, now);
        assert!(limits.charge(now).is_ok());
        let wait = limits.charge_ahead(CommandCost::CHANGE, now).unwrap_err();
        assert!(limits.charge_ahead(CommandCost::CHANGE, now + wait).is_ok());
    }

    #[test]
    fn a_client_without_an_account_has_no_typing() {
        let now = Instant::now();
        let conv = ConversationId::parse("g_1").unwrap();
        assert!(!CommandLimits::new(HOLD).forwards_typing(&conv, true, now));
        assert!(limits_of(1, 1, now).forwards_typing(&conv, true, now));
    }

    #[test]
    fn unanswered_commands_use_up_the_room() {
        let mut limits = CommandLimits::new(HOLD);
        limits.begin_change(10);
        assert!(!limits.has_room(1) && !limits.is_idle());
        limits.end_change(10);
        limits.begin_query();
        assert!(limits.has_room(1) && !limits.is_idle());
        limits.end_query();
        assert!(limits.is_idle());
    }

    #[test]
    fn waiting_times_are_rounded_up() {
        for (micros, millis) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(millis_up(Duration::from_micros(micros)), millis);
        }
    }
}
