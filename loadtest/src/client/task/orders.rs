//! What a client does as the harness told it: its habits, and the messages that are due.

use rand::Rng;

use super::{Client, Pacer};
use crate::client::habit::{Act, Acts};
use crate::client::state::{Task, World};
use crate::client::{Command, Habit};
use crate::clock::Nanos;
use crate::oracle::Reading;
use crate::pacing::{Pace, Schedule};

/// The most messages of one sender that wait while it is offline; more are counted as shed.
const BACKLOG: usize = 20_000;

// === impl Client: orders ===

impl Client {
    pub(super) fn command(&mut self, command: Option<Box<Command>>) {
        match command.map(|command| *command) {
            Some(Command::Join {
                name,
                conv,
                speak,
                reply,
            }) => {
                let place = self.state.join(&name, conv, reply);
                if speak {
                    self.speaks.push(place);
                }
            }
            Some(Command::Create {
                kind,
                cid,
                members,
                reply,
            }) => {
                self.state.ask(Task::Create {
                    kind,
                    cid,
                    members,
                    reply,
                });
            }
            Some(Command::Enrol { name, change, reply }) => {
                self.state.ask(Task::Enrol { name, change, reply });
            }
            Some(Command::Behave(habit)) => self.behave(habit),
            Some(Command::Probe(reads)) => self.probe(reads),
            Some(Command::Cut) => self.cut = true,
            Some(Command::Inbox(reply)) => {
                let now = self.common.world.borrow().clock.now();
                self.state.list(now, Some(reply));
            }
            Some(Command::Reread { name, after, reply }) => {
                if let Some(place) = self.state.place(&name) {
                    self.state.ask(Task::Reread {
                        place,
                        after,
                        reading: Reading::default(),
                        reply,
                    });
                }
            }
            Some(Command::Pace { pace, share }) => {
                let common = self.common.clone();
                let world = &mut *common.world.borrow_mut();
                let now = world.clock.now();
                self.produce(now, world); // what is due already is due, whatever comes now
                self.pacer = match pace {
                    Pace::Open { rate, arrival } if !self.speaks.is_empty() && share > 0.0 => {
                        Pacer::Open(Schedule::new(rate, share, arrival, now, &mut self.rng))
                    }
                    Pace::Closed { window } if !self.speaks.is_empty() => Pacer::Window(window),
                    _ => Pacer::Silent,
                };
            }
            Some(Command::Move) => {} // being woken is enough: the loop looks at the permitted nodes
            Some(Command::Unanswered(reply)) => {
                let unanswered = self.state.unanswered();
                if unanswered > 0 {
                    let waiting: Vec<_> = self.state.waiting().collect();
                    let world = &mut *self.common.world.borrow_mut();
                    let line = format!(
                        "client {} on {} waits for answers: {waiting:?}",
                        self.me, self.node
                    );
                    world.oracle.note(world.clock.now(), line);
                }
                let _ = reply.send(unanswered);
            }
            Some(Command::Quit) | None => self.quit = true,
        }
    }

    fn behave(&mut self, habit: Habit) {
        let world = self.common.world.borrow();
        let now = world.clock.now();
        if self.habit.reads.is_some() || habit.reads.is_some() {
            self.state.late(habit.reads.is_some(), now);
        }
        self.habit = habit;
        self.state.marks = habit.marks;
        self.drops_at = habit.drops_at(now, &mut self.rng);
        if habit.watches > 0 {
            let others = (1..=habit.watches).map(|next| world.payload.user(self.me + next));
            let others = others.collect();
            drop(world);
            self.state.watch(others);
        }
    }

    /// Makes the messages that are due.
    pub(super) fn produce(&mut self, now: Nanos, world: &mut World) {
        let budget = &self.common.budget;
        match &mut self.pacer {
            Pacer::Silent => {}
            // A window is per sender, over all its places.
            Pacer::Window(window) if self.state.online => {
                let backlog: usize = self.speaks.iter().map(|place| self.state.backlog(*place)).sum();
                // Whoever was put out everywhere would be refused as fast as it can ask.
                let out = self.speaks.iter().all(|place| self.state.is_out(*place));
                for _ in backlog..*window {
                    if budget.get() == 0 || out {
                        break;
                    }
                    budget.set(budget.get() - 1);
                    self.turn += 1;
                    self.state
                        .offer(self.speaks[self.turn % self.speaks.len()], now, world);
                }
            }
            Pacer::Window(_) => {}
            Pacer::Open(schedule) => {
                while budget.get() > 0
                    && let Some(due) = schedule.due(now, &mut self.rng)
                {
                    self.turn += match self.habit.acts {
                        Acts::Messages => 1,
                        Acts::Team | Acts::Lists(_) => self.rng.random_range(1..64),
                    };
                    let place = self.speaks[self.turn % self.speaks.len()];
                    let act = self.habit.acts.pick(&mut self.rng);
                    if act != Act::Send {
                        self.state.act(act, place, due, world, &mut self.rng);
                        continue;
                    }
                    if self.state.backlog(place) >= BACKLOG {
                        world.recorder.error("shed: the sender's backlog is full");
                        continue;
                    }
                    budget.set(budget.get() - 1);
                    self.state.offer(place, due, world);
                }
            }
        }
    }

    pub(super) fn next_due(&self, now: Nanos) -> Option<Nanos> {
        match &self.pacer {
            Pacer::Open(schedule) if self.common.budget.get() > 0 => Some(schedule.next().max(now)),
            _ => None,
        }
    }
}
