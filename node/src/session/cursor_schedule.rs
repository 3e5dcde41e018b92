//! Schedule of the writes of a device's durable cursors. Pure: time is an argument.

use std::time::{Duration, Instant};

/// Time between two writes while the positions move.
const INTERVAL: Duration = Duration::from_secs(30);
/// Time until a change of the gateway's state is written, and until a refused write is repeated.
const SOON: Duration = Duration::from_secs(1);
/// Validity of the cursors of a connected client beyond the resume timeout.
pub(super) const ATTACHED_VALIDITY: Duration = Duration::from_secs(3_600);
/// Time after which unchanged cursors of a connected client are written again.
const RENEWAL: Duration = Duration::from_secs(1_800);

/// Writes of one session. Without a device there are none.
#[derive(Debug, Default)]
pub(super) struct CursorSchedule {
    device: Option<Box<str>>,
    due: Option<Instant>,
    is_writing: bool,
    /// True if this session, or the one that it continues, may have stored cursors.
    may_be_stored: bool,
    /// Hash of what was written last.
    written: Option<u64>,
    renew_at: Option<Instant>,
    gateway_revision: u64,
}

// === impl CursorSchedule ===

impl CursorSchedule {
    /// Begins the schedule of a device. `may_be_stored`: an earlier session may have stored cursors of it.
    pub(super) fn begin(&mut self, device: Box<str>, may_be_stored: bool, now: Instant) {
        self.device = Some(device);
        self.may_be_stored = may_be_stored;
        self.due = Some(now + SOON);
    }

    /// Ends the schedule: another session has the cursors.
    pub(super) fn end(&mut self) {
        *self = CursorSchedule::default();
    }

    /// Notes whether an earlier session may have stored cursors, once that is known.
    pub(super) fn note_stored(&mut self, may_be_stored: bool) {
        self.may_be_stored = may_be_stored;
    }

    /// Returns the device whose cursors are written.
    pub(super) fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Returns true if cursors of the device may be stored, by this session or the one that it continues.
    pub(super) fn may_be_stored(&self) -> bool {
        self.may_be_stored
    }

    /// Returns the time of the next write.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Schedules a write at once.
    pub(super) fn hasten(&mut self, now: Instant) {
        if self.device.is_some() {
            self.due = Some(now);
        }
    }

    /// Schedules a write after a delay, unless an earlier one is scheduled.
    pub(super) fn schedule_soon(&mut self, now: Instant) {
        if self.device.is_some() {
            let soon = now + SOON;
            self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
        }
    }

    /// Postpones the write that is due, because the session is not complete yet.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = Some(now + SOON);
    }

    /// Notes the number of lasting changes of the gateway's state, which are written soon.
    pub(super) fn note_gateway_revision(&mut self, revision: u64, now: Instant) {
        if self.gateway_revision != revision {
            self.gateway_revision = revision;
            self.schedule_soon(now);
        }
    }

    /// Returns true if cursors with this hash are to be written now; [`end_write`](Self::end_write) follows.
    pub(super) fn begin_write(&mut self, hash: u64, now: Instant) -> bool {
        // One at a time: an earlier state must not overtake a later one. The result schedules the next.
        if self.is_writing {
            self.due = None;
            self.written = None;
            return false;
        }
        let is_fresh = self.renew_at.is_some_and(|at| now < at);
        if self.written == Some(hash) && is_fresh {
            self.due = Some(now + INTERVAL);
            return false;
        }
        self.is_writing = true;
        self.may_be_stored = true;
        self.due = None;
        self.written = Some(hash);
        true
    }

    /// Schedules the next write after the result of one with this hash.
    pub(super) fn end_write(&mut self, hash: u64, accepted: bool, now: Instant) {
        if self.device.is_none() {
            return;
        }
        self.is_writing = false;
        let is_last = self.written == Some(hash);
        if !accepted {
            self.written = None;
        }
        self.renew_at = accepted.then(|| now + RENEWAL);
        let next = if accepted && is_last { INTERVAL } else { SOON };
        let next = now + next;
        self.due = Some(self.due.map_or(next, |due| due.min(next)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(now: Instant) -> CursorSchedule {
        let mut schedule = CursorSchedule::default();
        schedule.begin("phone".into(), false, now);
        schedule
    }

    #[test]
    fn unnamed_device_has_no_cursors() {
        let now = Instant::now();
        let mut schedule = CursorSchedule::default();
        schedule.hasten(now);
        schedule.schedule_soon(now);
        schedule.note_gateway_revision(1, now);
        assert_eq!((schedule.due(), schedule.device()), (None, None));
    }

    #[test]
    fn changed_cursors_are_written_at_the_interval() {
        let start = Instant::now();
        let mut schedule = begun(start);
        assert!(!schedule.is_due(start));
        let now = start + SOON;
        assert!(schedule.is_due(now) && schedule.begin_write(1, now));
        schedule.end_write(1, true, now);
        assert_eq!(schedule.due(), Some(now + INTERVAL));
        let now = now + INTERVAL;
        assert!(!schedule.begin_write(1, now), "unchanged");
        let now = now + INTERVAL;
        assert!(schedule.is_due(now) && schedule.begin_write(2, now));
        schedule.end_write(2, true, now);
        assert!(schedule.begin_write(2, now + RENEWAL), "the stored ones expire");
    }

    #[test]
    fn cursors_may_be_stored_by_this_session_or_the_one_before() {
        let now = Instant::now();
        let mut continued = CursorSchedule::default();
        continued.begin("phone".into(), true, now);
        assert!(continued.may_be_stored());
        let mut schedule = begun(now);
        assert!(!schedule.may_be_stored());
        assert!(schedule.begin_write(1, now));
        assert!(schedule.may_be_stored());
        // A refusal does not tell that the write was not committed.
        schedule.end_write(1, false, now);
        assert!(schedule.may_be_stored());
        schedule.end();
        assert!(!schedule.may_be_stored());
    }

    #[test]
    fn refused_write_is_repeated() {
        let now = Instant::now();
        let mut schedule = begun(now);
        assert!(schedule.begin_write(1, now));
        schedule.end_write(1, false, now);
        assert_eq!(schedule.due(), Some(now + SOON));
        assert!(schedule.begin_write(1, now + SOON));
    }

    #[test]
    fn writes_do_not_overtake_each_other() {
        let now = Instant::now();
        let mut schedule = begun(now);
        assert!(schedule.begin_write(1, now));
        schedule.hasten(now);
        assert!(!schedule.begin_write(2, now), "the first one is under way");
        schedule.end_write(1, true, now);
        assert_eq!(schedule.due(), Some(now + SOON));
        assert!(schedule.begin_write(2, now + SOON));
    }

    #[test]
    fn lasting_change_of_the_gateway_state_is_written_soon() {
        let start = Instant::now();
        let mut schedule = begun(start);
        schedule.note_gateway_revision(1, start);
        assert!(schedule.begin_write(1, start + SOON));
        schedule.end_write(1, true, start + SOON);
        let now = start + 2 * SOON;
        schedule.note_gateway_revision(1, now);
        assert_eq!(schedule.due(), Some(start + SOON + INTERVAL));
        schedule.note_gateway_revision(2, now);
        assert_eq!(schedule.due(), Some(now + SOON));
    }
}
