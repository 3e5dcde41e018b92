//! Intake of commands: holds received commands until the session dispatches them, and paces the reader.
//!
//! Bound: one batch, because the reader sends the next one only after the acknowledgement of this one. So a session that
//! dispatches nothing slows its client down by TCP.

use std::collections::VecDeque;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;

use super::messages::{CommandBatch, ReceivedCommand};

/// Received commands that are not dispatched yet.
#[cfg_attr(test, derive(Default))]
pub(super) struct CommandIntake {
    /// Commands delayed by the in-flight limit or by a pause.
    backlog: VecDeque<ReceivedCommand>,
    /// Resolved once the backlog is empty; the reader reads no further before that.
    reader_ack: Option<oneshot::Sender<()>>,
    /// True if the commands of the backlog show that the client has received the session's id.
    confirms_resume: bool,
    /// Number of futures that have to complete before the next command is dispatched.
    pauses: usize,
    /// Counts the queued commands of all sessions.
    queued: Gauge,
}

// === impl CommandIntake ===

impl CommandIntake {
    /// Creates an empty intake whose commands `queued` counts.
    pub(super) fn new(queued: Gauge) -> CommandIntake {
        CommandIntake {
            queued,
            backlog: VecDeque::new(),
            reader_ack: None,
            confirms_resume: false,
            pauses: 0,
        }
    }

    /// Queues a batch. The returned receiver resolves once all of its commands are dispatched or discarded.
    pub(super) fn accept(&mut self, batch: CommandBatch) -> oneshot::Receiver<()> {
        let (reader_ack, dispatched) = oneshot::channel();
        let CommandBatch {
            commands,
            confirms_resume,
        } = batch;
        self.queued.inc_by(commands.len() as i64);
        self.backlog.extend(commands);
        self.confirms_resume = confirms_resume;
        self.reader_ack = Some(reader_ack);
        dispatched
    }

    /// Pauses the dispatch of received commands until as many calls of [`resume`](Self::resume).
    pub(super) fn pause(&mut self) {
        self.pauses += 1;
    }

    /// Ends one of the pauses.
    pub(super) fn resume(&mut self) {
        self.pauses = self.pauses.saturating_sub(1);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pauses > 0
    }

    /// Returns the next command without taking it.
    pub(super) fn peek(&self) -> Option<&ReceivedCommand> {
        self.backlog.front()
    }

    /// Returns true if a queued command shows that the client has received the session's id.
    pub(super) fn confirms_resume(&self) -> bool {
        self.confirms_resume && !self.backlog.is_empty()
    }

    /// Pops the next command. Without one, acknowledges the batch to the reader.
    pub(super) fn next(&mut self) -> Option<ReceivedCommand> {
        let next = self.backlog.pop_front();
        self.queued.dec_by(i64::from(next.is_some()));
        // Only now: while commands are queued, the reader must not read on, so that TCP slows the client down.
        if next.is_none()
            && let Some(reader_ack) = self.reader_ack.take()
        {
            // The reader may have ended with its connection.
            let _closed = reader_ack.send(());
        }
        next
    }

    /// Discards the queued commands and releases the reader.
    pub(super) fn clear(&mut self) {
        self.queued.dec_by(self.backlog.len() as i64);
        self.backlog.clear();
        self.reader_ack = None;
    }
}

impl Drop for CommandIntake {
    fn drop(&mut self) {
        // Also after a panic of the session: the gauge would otherwise count its commands forever.
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use protocol::{DecodeError, ErrorCode};

    use super::*;

    fn command(bytes: usize) -> ReceivedCommand {
        let error = DecodeError {
            id: None,
            code: ErrorCode::BadRequest,
            message: String::new(),
        };
        ReceivedCommand {
            request: Err(error),
            bytes,
        }
    }

    fn batch(commands: Vec<ReceivedCommand>) -> CommandBatch {
        CommandBatch {
            commands,
            confirms_resume: true,
        }
    }

    #[test]
    fn early_commands_do_not_confirm_a_resume() {
        let mut intake = CommandIntake::default();
        assert!(!intake.confirms_resume());
        let early = CommandBatch {
            confirms_resume: false,
            ..batch(vec![command(1)])
        };
        let _dispatched = intake.accept(early);
        assert!(!intake.confirms_resume());
        assert!(intake.next().is_some());
        let _dispatched = intake.accept(batch(vec![command(2)]));
        assert!(intake.confirms_resume());
        assert!(intake.next().is_some());
        assert!(!intake.confirms_resume(), "once dispatched, it was confirmed");
    }

    #[test]
    fn reader_continues_once_the_batch_is_dispatched() {
        let mut intake = CommandIntake::default();
        let mut dispatched = intake.accept(batch(vec![command(1), command(2)]));
        for bytes in 1..=2 {
            assert_eq!(intake.next().map(|command| command.bytes), Some(bytes));
            assert!((&mut dispatched).now_or_never().is_none());
        }
        assert!(intake.next().is_none());
        assert_eq!(dispatched.now_or_never(), Some(Ok(())));
    }

    #[test]
    fn discarded_commands_release_the_reader() {
        let mut intake = CommandIntake::default();
        let dispatched = intake.accept(batch(vec![command(1)]));
        intake.clear();
        assert!(intake.peek().is_none());
        assert!(dispatched.now_or_never().is_some_and(|result| result.is_err()));
    }

    #[test]
    fn gauge_counts_the_queued_commands_only() {
        let queued = Gauge::default();
        let mut intakes = [0, 1].map(|_| CommandIntake::new(queued.clone()));
        for intake in &mut intakes {
            let _dispatched = intake.accept(batch(vec![command(1), command(2)]));
        }
        assert_eq!(queued.get(), 4);
        while intakes[0].next().is_some() {}
        assert_eq!(queued.get(), 2);
        drop(intakes);
        assert_eq!(queued.get(), 0);
    }

    #[test]
    fn pause_lasts_until_each_of_its_futures_is_ready() {
        let mut intake = CommandIntake::default();
        intake.pause();
        intake.pause();
        intake.resume();
        assert!(intake.is_paused(), "another future is pending");
        intake.resume();
        assert!(!intake.is_paused());
    }
}
