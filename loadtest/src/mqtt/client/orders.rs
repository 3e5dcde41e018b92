//! What a client of a broker does as the harness told it: the messages that are due.

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};

use super::{Client, Lost, Pacer};
use crate::clock::Nanos;
use crate::mqtt::Command;
use crate::pacing::{Pace, Schedule};
use crate::payload::Tag;

/// The most messages of one sender that wait; more are counted as shed.
const BACKLOG: usize = 20_000;

// === impl Client: orders ===

impl Client {
    pub(super) fn command(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Pace { pace, share }) => {
                let now = self.common.world.borrow().clock.now();
                self.pacer = match pace {
                    Pace::Open { rate, arrival } if !self.speaks.is_empty() && share > 0.0 => {
                        Pacer::Open(Schedule::new(rate, share, arrival, now, &mut self.rng))
                    }
                    Pace::Closed { window } if !self.speaks.is_empty() => Pacer::Window(window),
                    _ => Pacer::Silent,
                };
            }
            Some(Command::Unanswered(reply)) => drop(reply.send(self.session.unanswered())),
            Some(Command::Quit) | None => self.quit = true,
        }
    }

    /// Makes the messages that are due.
    pub(super) fn produce(&mut self, now: Nanos) {
        let budget = &self.common.budget;
        let mut dues = Vec::new();
        match &mut self.pacer {
            Pacer::Silent => {}
            Pacer::Window(window) if self.online => {
                let room = window.saturating_sub(self.session.unanswered());
                let room = (room as u64).min(budget.get());
                budget.set(budget.get() - room);
                dues.extend((0..room).map(|_| now));
            }
            Pacer::Window(_) => {}
            Pacer::Open(schedule) => {
                while budget.get() > 0
                    && let Some(due) = schedule.due(now, &mut self.rng)
                {
                    if self.session.unanswered() + dues.len() >= BACKLOG {
                        let world = &mut *self.common.world.borrow_mut();
                        world.recorder.error("shed: the sender's backlog is full");
                        continue;
                    }
                    budget.set(budget.get() - 1);
                    dues.push(due);
                }
            }
        }
        for due in dues {
            self.turn += 1;
            let position = self.speaks[self.turn % self.speaks.len()];
            let conv = self.places[position].conv;
            let ordinal = self.judge.borrow_mut().issue(conv, self.me);
            self.common.world.borrow_mut().recorder.sent();
            self.session.offer(position, conv, ordinal, due);
        }
    }

    /// Sends what waits to be sent.
    pub(super) fn publish(&mut self) -> Result<(), Lost> {
        while let Some((id, again, pending)) = self.session.next() {
            let place = &self.places[pending.place];
            let tag = Tag {
                sender: self.me,
                ordinal: pending.ordinal,
            };
            let sealed = self
                .common
                .world
                .borrow()
                .payload
                .seal(&place.topic, tag, pending.due);
            let mut publish = Publish::new(&*place.topic, QoS::AtLeastOnce, sealed);
            (publish.pkid, publish.dup) = (id, again);
            self.put(&Packet::Publish(publish))?;
        }
        Ok(())
    }

    pub(super) fn next_due(&self, now: Nanos) -> Option<Nanos> {
        match &self.pacer {
            Pacer::Open(schedule) if self.common.budget.get() > 0 => Some(schedule.next().max(now)),
            _ => None,
        }
    }
}
