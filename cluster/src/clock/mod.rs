//! What time it is: this machine's clock, held close to what a majority of the members say.
//!
//! A time that is in the log can't be taken back, so no single clock may decide it. Members tell each other their wall
//! clocks twice a second ([`exchange`]); each extrapolates what it heard by its own monotonic clock ([`estimate`]). From
//! that comes one figure: what the clocks of a *majority* have reached. With fewer than half of the clocks wrong it lies
//! between right ones, whatever the wrong ones say.
//!
//! ```text
//!   own clock ──┐ held within TOLERANCE of it: the time of a batch, of tokens, of what clients are told
//!   reports ────┴─► reached by a majority ─┬─► what ends, ends by this: retention, expiry, keys
//!                                          ├─► goes into the entry beside the time: apply refuses what is too far ahead
//!                                          └─► a member further than BOUND from it owns nothing
//! ```

pub(crate) mod estimate;
pub(crate) mod exchange;
mod wall;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use self::estimate::{Report, reached};
use crate::types::NodeId;

#[cfg(feature = "clock-file")]
pub use wall::FileWall;
pub use wall::{SystemWall, Wall};

/// How far a batch's time may be ahead of what a majority's clocks have reached, and how far a member's clock may be
/// from it for the member to own shards. A constant: apply compares with it, on every replica alike. Clocks that are
/// kept at all agree within a second, also over slow links.
pub const BOUND: Duration = Duration::from_secs(10);

/// How far a clock may be from the majority's before that is worth a warning; what is told as the time is no further
/// from it in any case.
pub const TOLERANCE: Duration = Duration::from_millis(500);

/// A report is extrapolated for so long: at most, since a clock that is put right is to count soon; at least several
/// exchanges, since one may get lost.
const VALIDITY: Duration = Duration::from_secs(10);

/// The clock of a member. Cheap to clone; all parts of a node share one.
#[derive(Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

struct Inner {
    wall: Box<dyn Wall>,
    seen: Mutex<Seen>,
}

/// What is known of the others' clocks.
#[derive(Default)]
struct Seen {
    me: NodeId,
    /// All members, this one included; empty: it belongs to no cluster yet.
    members: Vec<NodeId>,
    reports: BTreeMap<NodeId, Report>,
    /// This clock was found too far away, and isn't near enough again.
    away: bool,
}

/// The time of a batch, and the evidence for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) now_ms: u64,
    /// What the clocks of a majority have reached.
    pub(crate) reached_ms: u64,
}

/// How this member's clock stands to the majority's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How far it is ahead; negative: behind. `None`: no majority is known.
    pub(crate) skew_ms: Option<i64>,
    /// How wrong that may be, for the time that reports were on their way.
    pub(crate) error_ms: u64,
    /// Too far away to own anything.
    pub(crate) away: bool,
}

// === impl Clock ===

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Clock {
        Clock::new(SystemWall)
    }

    /// Another one, as a simulation has.
    #[must_use]
    pub fn new(wall: impl Wall) -> Clock {
        Clock {
            inner: Arc::new(Inner {
                wall: Box::new(wall),
                seen: Mutex::default(),
            }),
        }
    }

    /// Milliseconds since the epoch: this machine's clock, but no further than [`TOLERANCE`] from what a majority's
    /// clocks have reached, where that is known.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let own = self.wall_ms();
        let reached = self.inner.seen.lock().of_members(own, Instant::now());
        reached.map_or(own, |reached| held(own, reached))
    }

    /// What the clocks of a majority have reached: what ends by time ends by this. `None`: too few are known.
    #[must_use]
    pub fn reached_ms(&self) -> Option<u64> {
        let own = self.wall_ms();
        self.inner.seen.lock().of_members(own, Instant::now())
    }

    /// This machine's clock as it is.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.inner.wall.now_ms()
    }

    /// How long this machine has been suspended so far.
    pub(crate) fn suspended(&self) -> Duration {
        self.inner.wall.suspended()
    }

    /// Who counts.
    pub(crate) fn set_members(&self, me: NodeId, members: Vec<NodeId>) {
        let seen = &mut *self.inner.seen.lock();
        seen.reports.retain(|node, _| members.contains(node));
        (seen.me, seen.members) = (me, members);
    }

    /// A member has told its clock.
    pub(crate) fn learn(&self, from: NodeId, report: Report) {
        let seen = &mut *self.inner.seen.lock();
        let known = seen.reports.get(&from);
        if report.is_precise() && known.is_none_or(|known| report.replaces(known)) {
            seen.reports.insert(from, report);
        }
    }

    /// Nothing that was heard counts any more: this machine stood still meanwhile.
    pub(crate) fn forget(&self) {
        self.inner.seen.lock().reports.clear();
    }

    /// The time of a batch of a shard in which `voters` decide. If too few of the members are known but enough of
    /// those, they count: a shard that can commit can tell the time. `None`: neither.
    pub(crate) fn stamp(&self, voters: impl FnOnce() -> Vec<NodeId>) -> Option<Stamp> {
        let (own, now) = (self.wall_ms(), Instant::now());
        let of_members = self.inner.seen.lock().of_members(own, now);
        let reached_ms = match of_members {
            Some(reached) => reached,
            None => {
                let voters = voters();
                self.inner.seen.lock().of(&voters, own, now)?
            }
        };
        #[cfg(feature = "planted-bugs")]
        if crate::planted::clock_believed() {
            return Some(Stamp {
                now_ms: own,
                reached_ms,
            });
        }
        Some(Stamp {
            now_ms: held(own, reached_ms),
            reached_ms,
        })
    }

    /// Looks how this clock stands. It is away beyond [`BOUND`], and near again within half of it, so that one at the
    /// edge doesn't come and go.
    pub(crate) fn look(&self) -> Standing {
        let (own, now) = (self.wall_ms(), Instant::now());
        let seen = &mut *self.inner.seen.lock();
        let Some(reached) = seen.of_members(own, now) else {
            return Standing {
                skew_ms: None,
                error_ms: 0,
                away: seen.away,
            };
        };
        let error_ms = seen.error_ms(now);
        let certain = own.abs_diff(reached).saturating_sub(error_ms);
        if certain > millis(BOUND) {
            seen.away = true;
        } else if own.abs_diff(reached) <= millis(BOUND / 2) {
            seen.away = false;
        }
        Standing {
            skew_ms: Some(difference(own, reached)),
            error_ms,
            away: seen.away,
        }
    }

    /// Whether this member may own shards.
    pub(crate) fn may_own(&self) -> bool {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::clock_believed() {
            return true;
        }
        !self.look().away
    }

    /// Whether a member may own shards, by its own word. Of whom nothing was heard, nothing bad was.
    pub(crate) fn peer_may_own(&self, peer: NodeId) -> bool {
        let seen = self.inner.seen.lock();
        seen.reports.get(&peer).is_none_or(|report| report.may_own)
    }

    /// How far a member's clock is ahead of the majority's.
    pub(crate) fn skew_of(&self, node: NodeId) -> Option<i64> {
        let (own, now) = (self.wall_ms(), Instant::now());
        let seen = self.inner.seen.lock();
        let reached = seen.of_members(own, now)?;
        Some(difference(seen.clock_of(node, own, now)?, reached))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

// === impl Seen ===

impl Seen {
    fn of_members(&self, own: u64, now: Instant) -> Option<u64> {
        if self.members.is_empty() {
            return Some(own);
        }
        self.of(&self.members, own, now)
    }

    fn of(&self, nodes: &[NodeId], own: u64, now: Instant) -> Option<u64> {
        let known = nodes.iter().filter_map(|node| self.clock_of(*node, own, now));
        reached(known.collect(), nodes.len())
    }

    fn clock_of(&self, node: NodeId, own: u64, now: Instant) -> Option<u64> {
        if node == self.me {
            return Some(own);
        }
        let report = self.reports.get(&node)?;
        (report.age(now) <= VALIDITY).then(|| report.at(now))
    }

    fn error_ms(&self, now: Instant) -> u64 {
        let valid = self.reports.values().filter(|report| report.age(now) <= VALIDITY);
        valid.map(|report| millis(report.error())).max().unwrap_or(0)
    }
}

/// A clock's time, or the nearest to it that the majority's permits.
fn held(own: u64, reached: u64) -> u64 {
    let tolerance = millis(TOLERANCE);
    own.clamp(
        reached.saturating_sub(tolerance),
        reached.saturating_add(tolerance),
    )
}

/// Whether a batch of that time may be applied: the rule of every replica.
pub(crate) fn is_timely(stamp: Stamp) -> bool {
    stamp.now_ms <= stamp.reached_ms.saturating_add(millis(BOUND))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn difference(a: u64, b: u64) -> i64 {
    let size = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a < b { -size } else { size }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const ME: NodeId = NodeId(1);
    const DAYS: u64 = 10 * 24 * 3600 * 1000;
    /// What right clocks show.
    const RIGHT: u64 = 1_800_000_000_000;

    struct Set(Arc<AtomicU64>);

    impl Wall for Set {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// A member of so many that has heard nothing yet, and its wall.
    fn member(of: u64, own: u64) -> (Clock, Arc<AtomicU64>) {
        let wall = Arc::new(AtomicU64::new(own));
        let clock = Clock::new(Set(wall.clone()));
        clock.set_members(ME, (1..=of).map(NodeId).collect());
        (clock, wall)
    }

    fn report(clock: &Clock, from: u64, wall_ms: u64) {
        let now = Instant::now();
        clock.learn(NodeId(from), Report::new(wall_ms, now, now, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_ahead_reads_the_majoritys_time_and_may_own_nothing() {
        let (clock, _) = member(3, RIGHT + DAYS);
        report(&clock, 2, RIGHT);
        report(&clock, 3, RIGHT + 20);
        assert_eq!(clock.reached_ms(), Some(RIGHT + 20));
        assert_eq!(clock.now_ms(), RIGHT + 520);
        assert!(!clock.may_own());
        assert_eq!(clock.look().skew_ms, Some(DAYS as i64 - 20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_behind_reads_the_majoritys_time_and_may_own_nothing() {
        let (clock, _) = member(3, RIGHT - DAYS);
        report(&clock, 2, RIGHT);
        report(&clock, 3, RIGHT + 20);
        assert_eq!(clock.now_ms(), RIGHT - 500);
        assert!(!clock.may_own());
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_clock_beside_a_wrong_one_may_own_whichever_way_the_other_is_wrong() {
        for wrong in [RIGHT + DAYS, RIGHT - DAYS] {
            let (clock, _) = member(3, RIGHT);
            report(&clock, 2, wrong);
            report(&clock, 3, RIGHT + 20);
            assert!(clock.may_own());
            assert_eq!(clock.now_ms(), RIGHT);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_disagree_the_slower_counts_and_owns() {
        let (clock, _) = member(2, RIGHT);
        report(&clock, 2, RIGHT + DAYS);
        assert!(clock.may_own());
        assert_eq!(clock.reached_ms(), Some(RIGHT));
        let (clock, _) = member(2, RIGHT);
        report(&clock, 2, RIGHT - DAYS);
        assert!(!clock.may_own());
        assert_eq!(clock.now_ms(), RIGHT - DAYS + 500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_right_again_may_own_again_and_one_at_the_edge_stays_as_it_was() {
        let (clock, wall) = member(3, RIGHT + 11_000);
        for peer in [2, 3] {
            report(&clock, peer, RIGHT);
        }
        assert!(!clock.may_own());
        wall.store(RIGHT + 9_000, Ordering::Relaxed);
        assert!(!clock.may_own());
        wall.store(RIGHT + 5_000, Ordering::Relaxed);
        assert!(clock.may_own());
        wall.store(RIGHT + 9_000, Ordering::Relaxed);
        assert!(clock.may_own());
    }

    #[tokio::test(start_paused = true)]
    async fn who_knows_too_few_clocks_has_no_stamp_unless_those_who_decide_are_known() {
        let (clock, _) = member(5, RIGHT);
        report(&clock, 2, RIGHT + 7);
        assert_eq!(clock.reached_ms(), None);
        assert_eq!(clock.stamp(|| vec![NodeId(3), NodeId(4), ME]), None);
        let stamp = clock.stamp(|| vec![ME, NodeId(2), NodeId(4)]).unwrap();
        assert_eq!((stamp.now_ms, stamp.reached_ms), (RIGHT, RIGHT));
        // Alone in its group, as a member is that has just let in a second one.
        assert!(clock.stamp(|| vec![ME]).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn reports_go_on_by_themselves_for_a_while_and_are_forgotten_after_a_pause() {
        let (clock, wall) = member(3, RIGHT);
        report(&clock, 2, RIGHT);
        report(&clock, 3, RIGHT);
        tokio::time::advance(Duration::from_secs(5)).await;
        wall.store(RIGHT + DAYS, Ordering::Relaxed);
        assert_eq!(clock.reached_ms(), Some(RIGHT + 5_000));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(clock.reached_ms(), None);
        report(&clock, 2, RIGHT);
        report(&clock, 3, RIGHT);
        assert!(clock.reached_ms().is_some());
        clock.forget();
        assert_eq!(clock.reached_ms(), None);
    }

    #[test]
    fn a_batch_is_timely_up_to_the_bound() {
        let at = |now_ms| Stamp {
            now_ms,
            reached_ms: RIGHT,
        };
        assert!(is_timely(at(0)) && is_timely(at(RIGHT + 10_000)));
        assert!(!is_timely(at(RIGHT + 10_001)));
    }
}
