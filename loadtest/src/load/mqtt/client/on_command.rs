//! Commands to an MQTT client, and the messages that are due.

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish};

use super::{Lost, MqttClient, MqttPacer};
use crate::clock::Nanos;
use crate::load::mqtt::MqttCommand;
use crate::pacing::{LoadPace, Schedule};
use crate::payload::MessageTag;

/// Maximum number of messages that a sender queues; further ones are counted as shed.
const BACKLOG: usize = 20_000;

// === impl MqttClient: commands ===

impl MqttClient {
    pub(super) fn command(&mut self, command: Option<MqttCommand>) {
        match command {
            Some(MqttCommand::Pace { pace, share }) => {
                let now = self.common.context.borrow().clock.now();
                self.pacer = match pace {
                    LoadPace::Open { rate, arrival } if !self.speaks.is_empty() && share > 0.0 => {
                        MqttPacer::Open(Schedule::new(rate, share, arrival, now, &mut self.rng))
                    }
                    LoadPace::Closed { window } if !self.speaks.is_empty() => MqttPacer::Window(window),
                    _ => MqttPacer::Silent,
                };
            }
            Some(MqttCommand::Unanswered(reply)) => drop(reply.send(self.session.unanswered())),
            Some(MqttCommand::Quit) | None => self.quit = true,
        }
    }

    /// Produces the messages that are due.
    pub(super) fn produce(&mut self, now: Nanos) {
        let budget = &self.common.budget;
        // Collected first: the pacer is borrowed while the schedule is read.
        let mut dues = Vec::new();
        match &mut self.pacer {
            MqttPacer::Silent => {}
            MqttPacer::Window(window) if self.online => {
                // Saturating, because a smaller new window may already be exceeded.
                let room = window.saturating_sub(self.session.unanswered());
                let room = (room as u64).min(budget.get());
                budget.set(budget.get() - room);
                dues.extend((0..room).map(|_| now));
            }
            MqttPacer::Window(_) => {}
            MqttPacer::Open(schedule) => {
                while budget.get() > 0
                    && let Some(due) = schedule.due(now, &mut self.rng)
                {
                    // Shed instead of queued without bound: a long outage must not exhaust the harness's memory.
                    if self.session.unanswered() + dues.len() >= BACKLOG {
                        let context = &mut *self.common.context.borrow_mut();
                        context.recorder.error("shed: the sender's backlog is full");
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
            let conv = self.subscriptions[position].conv;
            // Recorded before the publish: the message may be received before its PUBACK.
            let ordinal = self.judge.borrow_mut().issue(conv, self.me);
            self.common.context.borrow_mut().recorder.sent();
            self.session.offer(position, conv, ordinal, due);
        }
    }

    /// Writes the queued messages to the output, as far as packet identifiers are free.
    pub(super) fn publish(&mut self) -> Result<(), Lost> {
        while let Some((id, again, pending)) = self.session.next() {
            let subscription = &self.subscriptions[pending.topic];
            let tag = MessageTag {
                sender: self.me,
                ordinal: pending.ordinal,
            };
            let sealed = self
                .common
                .context
                .borrow()
                .payload
                .seal(&subscription.topic, tag, pending.due);
            let mut publish = Publish::new(&*subscription.topic, QoS::AtLeastOnce, sealed);
            (publish.pkid, publish.dup) = (id, again);
            self.put(&Packet::Publish(publish))?;
        }
        Ok(())
    }

    pub(super) fn next_due(&self, now: Nanos) -> Option<Nanos> {
        match &self.pacer {
            MqttPacer::Open(schedule) if self.common.budget.get() > 0 => Some(schedule.next().max(now)),
            _ => None,
        }
    }
}
