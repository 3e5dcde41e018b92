//! What a client does besides sending: reads, lists, types, and changes messages that are there already. Edits,
//! deletions and reactions go one at a time, so their order in the log is the order in which they were made.

use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::{Look, State, Task, World};
use crate::client::habit::Act;
use crate::clock::Nanos;
use crate::oracle::{Change, Since, What, mark};
use crate::payload::{Ordinal, Tag};
use crate::wire;

/// An edit, deletion or reaction that waits for its answer.
pub(crate) struct Changing {
    pub(super) place: usize,
    pub(super) ordinal: Ordinal,
    pub(super) due: Nanos,
    cid: String,
    what: What,
    of: u64,
    /// The new body, or the reaction.
    with: String,
    /// What had been acknowledged when it was sent for the first time.
    pub(super) since: Option<Since>,
}

// === impl Changing ===

impl Changing {
    pub(super) fn what(&self) -> What {
        self.what
    }

    /// The message that it changes.
    pub(super) fn of(&self) -> u64 {
        self.of
    }

    /// It is about to be sent; what it stands behind is what was there the first time.
    pub(super) fn begins(&mut self, since: Since) {
        self.since.get_or_insert(since);
    }

    pub(super) fn frame(&self, id: u64, c: &str) -> String {
        match self.what {
            What::Edit => wire::edit(id, c, &self.cid, self.of, &self.with),
            What::Delete => wire::del(id, c, &self.cid, self.of),
            What::React => wire::react(id, c, &self.cid, self.of, &self.with),
        }
    }
}

// === impl State ===

impl State {
    /// Does it, in a place. `due` is when it was due.
    pub(crate) fn act(&mut self, act: Act, place: usize, due: Nanos, world: &mut World, rng: &mut StdRng) {
        match act {
            Act::Send => self.offer(place, due, world),
            _ if !self.online => {}
            Act::Read => {
                if let Some(s) = self.places[place].cursor {
                    self.ask(Task::Read { place, s, due });
                }
            }
            Act::List => self.list(due, None),
            Act::Type => self.out.push(wire::typing(&self.places[place].name)),
            Act::React => self.change(What::React, place, due, world, rng),
            Act::Edit => self.change(What::Edit, place, due, world, rng),
            Act::Delete => self.change(What::Delete, place, due, world, rng),
        }
    }

    /// Asks for the inbox from its first page on.
    pub(crate) fn list(&mut self, due: Nanos, reply: Option<oneshot::Sender<()>>) {
        self.ask(Task::List {
            cursor: None,
            due,
            asked: due,
            floors: self.places.iter().map(|place| place.read).collect(),
            found: Vec::new(),
            look: if reply.is_some() { Look::Last } else { Look::Act },
            reply,
        });
    }

    fn change(&mut self, what: What, place: usize, due: Nanos, world: &mut World, rng: &mut StdRng) {
        if self.changing {
            return;
        }
        let here = &self.places[place];
        let near: Vec<u64> = here.recent(what != What::React).collect();
        if near.is_empty() {
            return;
        }
        let of = near[rng.random_range(0..near.len())];
        let (conv, name) = (here.conv, here.name.clone());
        let ordinal = world.oracle.next_change(conv, self.me);
        let tag = Tag {
            sender: self.me,
            ordinal,
        };
        let with = match what {
            What::Edit => world.payload.body(&name, tag, due),
            What::Delete => String::new(),
            // Another one each time: the same twice would be no event.
            What::React => format!("\u{1f44d}{}.{ordinal:x}", self.me),
        };
        let change = Change {
            by: self.me,
            what,
            of,
            mark: mark(&with),
        };
        world.oracle.issue_change(conv, ordinal, change);
        self.changing = true;
        self.ask(Task::Change(Changing {
            place,
            ordinal,
            due,
            cid: world.payload.cid(tag),
            what,
            of,
            with,
            since: None,
        }));
    }
}
