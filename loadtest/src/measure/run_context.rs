//! Measurements and verdicts that everything in one process adds to: clients, faults and the run itself.

use std::cell::RefCell;
use std::rc::Rc;

use super::first_acks::FirstAcks;
use super::recorder::Recorder;
use super::recovery::Recovery;
use crate::clock::{Nanos, RunClock};
use crate::oracle::Oracle;
use crate::payload::Payload;

/// Context that all clients of a run share; they run on one thread.
pub(crate) struct RunContext {
    pub(crate) clock: RunClock,
    /// Time at which the frame in process was read.
    pub(crate) received: Nanos,
    pub(crate) payload: Payload,
    pub(crate) oracle: Oracle,
    pub(crate) recorder: Recorder,
    pub(crate) acks: FirstAcks,
    pub(crate) recovery: Recovery,
}

/// Shared handle to the [`RunContext`].
pub(crate) type SharedContext = Rc<RefCell<RunContext>>;

// === impl RunContext ===

impl RunContext {
    /// Returns the context of a run with the number `run`, whose messages have bodies of `size` bytes.
    pub(crate) fn new(clock: RunClock, run: u32, size: usize) -> RunContext {
        RunContext {
            clock,
            received: 0,
            payload: Payload::new(run, size),
            oracle: Oracle::new(),
            recorder: Recorder::new(),
            acks: FirstAcks::default(),
            recovery: Recovery::new(),
        }
    }
}
