//! How much of a session is unanswered. While too much is, no further command is taken up and nothing more is read
//! from the connection: a client is slowed down by TCP, not by a queue. Pure.

use crate::config::Limits;

/// Questions answered at once. Each answer may be a page of large messages, held in memory until it is read.
const QUESTIONS: usize = 4;

/// What is unanswered.
#[derive(Debug, Default)]
pub struct Window {
    changes: usize,
    bytes: usize,
    questions: usize,
}

// === impl Window ===

impl Window {
    /// Whether another command may be taken up.
    #[must_use]
    pub fn has_room(&self, limits: &Limits) -> bool {
        self.changes < limits.unacked_sends && self.bytes < limits.unacked_bytes && self.questions < QUESTIONS
    }

    /// Whether everything is answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes == 0 && self.questions == 0
    }

    /// A change of so many bytes was taken up.
    pub fn change(&mut self, bytes: usize) {
        self.changes += 1;
        self.bytes += bytes;
    }

    /// It was answered.
    pub fn changed(&mut self, bytes: usize) {
        self.changes -= 1;
        self.bytes -= bytes;
    }

    /// A question was taken up.
    pub fn question(&mut self) {
        self.questions += 1;
    }

    /// It was answered.
    pub fn answered(&mut self) {
        self.questions -= 1;
    }
}
