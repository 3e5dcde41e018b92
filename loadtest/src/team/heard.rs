//! What the coordinator hears from its workers: how far each is, what they counted, and the logs that are compared.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Notify;

use super::link::{self, Out};
use super::logs::{Logs, Wrong};
use super::message::{Final, Order, Standing, Tick, Word};
use super::worker::SILENCE;
use crate::client::Common;
use crate::clock::Nanos;
use crate::oracle::{Counts, Kind};

/// What the coordinator has heard, and who waits for it.
pub(super) struct Heard {
    pub(super) common: Rc<Common>,
    pub(super) seats: RefCell<Vec<Seat>>,
    pub(super) logs: RefCell<Logs>,
    pub(super) failed: RefCell<Option<(usize, String)>>,
    pub(super) news: Notify,
}

/// One worker, as far as it has told.
#[derive(Debug, Default)]
pub(super) struct Seat {
    pub(super) address: String,
    pub(super) clock_error: Option<Nanos>,
    pub(super) connected: bool,
    pub(super) created: Option<Vec<(u32, String)>>,
    pub(super) entered: bool,
    pub(super) everywhere: bool,
    pub(super) inboxes: bool,
    pub(super) online: usize,
    pub(super) left: Option<u64>,
    pub(super) counts: Counts,
    pub(super) standing: Option<Standing>,
    pub(super) reread: bool,
    pub(super) last: Option<Box<Final>>,
}

/// Hears one worker, for as long as it speaks.
pub(super) async fn listen(worker: usize, mut reader: OwnedReadHalf, out: Out, heard: Rc<Heard>) {
    let why = loop {
        match tokio::time::timeout(SILENCE, link::read(&mut reader, link::MOST)).await {
            Ok(Ok(Word::Ping { sent })) => {
                let now = heard.common.world.borrow().clock.now();
                out.say(&Order::Pong { sent, now }).await;
            }
            Ok(Ok(word)) => heard.hear(worker, word),
            Ok(Err(error)) => break error.to_string(),
            Err(_) => break format!("has said nothing for {SILENCE:?}"),
        }
    };
    heard.fail(worker, why);
}

// === impl Heard ===

impl Heard {
    fn hear(&self, worker: usize, word: Word) {
        {
            let seat = &mut self.seats.borrow_mut()[worker];
            match word {
                Word::Ping { .. } => {}
                Word::Set { error } => seat.clock_error = Some(error),
                Word::Connected => seat.connected = true,
                Word::Created { names } => seat.created = Some(names),
                Word::Entered => seat.entered = true,
                Word::Standing(standing) => seat.standing = Some(standing),
                Word::Everywhere => seat.everywhere = true,
                Word::Inboxes => seat.inboxes = true,
                Word::Reread => seat.reread = true,
                Word::Failed { why } => {
                    self.failed.borrow_mut().get_or_insert((worker, why));
                }
                Word::Tick(tick) => {
                    seat.take(&tick);
                    self.tick(worker, tick);
                }
                Word::Final(mut last) => {
                    let tick = std::mem::take(&mut last.tick);
                    seat.take(&tick);
                    self.tick(worker, tick);
                    seat.last = Some(last);
                }
            }
        }
        self.sum();
        self.news.notify_waiters();
    }

    fn tick(&self, worker: usize, tick: Tick) {
        let world = &mut *self.common.world.borrow_mut();
        for second in &tick.seconds {
            world.recorder.join_second(second);
        }
        world.oracle.adopt(tick.violations);
        let logs = &mut *self.logs.borrow_mut();
        for stretch in &tick.stretches {
            match logs.told(worker as u32, stretch) {
                Ok(()) => {}
                Err(Wrong::Fork { conv, s, detail }) => {
                    world.oracle.violate(Kind::Fork, Some(conv), None, s, detail);
                }
                Err(Wrong::Nonsense { conv, s, detail }) => {
                    let detail = format!("{detail} (conversation {conv}, s={s})");
                    self.failed.borrow_mut().get_or_insert((worker, detail));
                }
                Err(Wrong::Behind { worker: slow }) => {
                    let detail = "is too far behind the others for their logs to be compared";
                    self.failed
                        .borrow_mut()
                        .get_or_insert((slow as usize, detail.to_owned()));
                }
            }
        }
    }

    /// What all have counted, where the run looks for it.
    fn sum(&self) {
        let seats = self.seats.borrow();
        self.common.online.set(seats.iter().map(|seat| seat.online).sum());
        let left = seats.iter().map(|seat| seat.left.unwrap_or(u64::MAX));
        self.common.budget.set(left.fold(0, u64::saturating_add));
        let counts = seats
            .iter()
            .map(|seat| seat.counts)
            .fold(Counts::default(), Counts::plus);
        self.common.world.borrow_mut().oracle.heard(counts);
    }

    fn fail(&self, worker: usize, why: String) {
        self.failed.borrow_mut().get_or_insert((worker, why));
        self.news.notify_waiters();
    }
}

// === impl Seat ===

impl Seat {
    fn take(&mut self, tick: &Tick) {
        self.online = tick.online;
        self.left = Some(tick.left);
        self.counts = tick.counts;
    }
}
