//! `sync`: what was missed in every conversation, page by page in the order of their names, until each was answered.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::{Basis, State, Task, World};
use crate::clock::MILLISECOND;
use crate::wire::{self, Frame};

/// A `sync` on its way to its end.
pub(crate) struct Syncing {
    /// What still has to be asked for, by name.
    rest: Vec<usize>,
    /// What was passed by without a word: its owner could not be asked, or the client is no member any more.
    passed: Vec<usize>,
    cursor: Option<String>,
    purpose: Purpose,
}

/// What it is for.
pub(crate) enum Purpose {
    /// To have everything again.
    CatchUp,
    /// To be judged.
    Probe,
    /// The last look: some conversations are not named, and have to come all the same.
    Last(oneshot::Sender<()>),
}

/// In the last look one of so many conversations is not named.
const OMITTED: usize = 16;

// === impl Syncing ===

impl Syncing {
    fn is_named(&self, place: usize) -> bool {
        !matches!(self.purpose, Purpose::Last(_)) || !place.is_multiple_of(OMITTED)
    }

    pub(super) fn rest(&self) -> &[usize] {
        &self.rest
    }

    pub(super) fn is_to_catch_up(&self) -> bool {
        matches!(self.purpose, Purpose::CatchUp)
    }

    /// A page was answered: up to its end, by name, each was either there or passed by.
    fn answered<'a>(
        &mut self,
        next: Option<String>,
        found: &HashMap<&str, u64>,
        name: impl Fn(usize) -> &'a str,
    ) {
        let passed_by = |place: &usize| match &next {
            Some(next) => name(*place) <= next.as_str(),
            None => true,
        };
        let (done, rest): (Vec<usize>, Vec<usize>) = self.rest.iter().partition(|place| passed_by(place));
        let missing = done.into_iter().filter(|place| !found.contains_key(name(*place)));
        self.passed.extend(missing);
        self.rest = rest;
        self.cursor = next;
    }
}

// === impl State: sync ===

impl State {
    /// Asks for everything above the cursors.
    pub(super) fn sync(&mut self, mut places: Vec<usize>, purpose: Purpose, after_ms: u64, world: &World) {
        places.sort_by(|a, b| self.places[*a].name.cmp(&self.places[*b].name));
        let syncing = Syncing {
            rest: places,
            passed: Vec::new(),
            cursor: None,
            purpose,
        };
        let at = match after_ms {
            0 => 0,
            ms => world.clock.now() + ms * MILLISECOND,
        };
        self.todo.push((at, Task::Sync(syncing)));
    }

    /// The places whose positions are known and that the client is in.
    pub(super) fn present(&self) -> Vec<usize> {
        let all = 0..self.places.len();
        all.filter(|place| self.places[*place].cursor.is_some() && !self.places[*place].out)
            .collect()
    }

    pub(super) fn sync_frame(&self, id: u64, syncing: &Syncing) -> String {
        let named = syncing.rest.iter().filter(|place| syncing.is_named(**place));
        let named = named
            .take(protocol::limits::SYNC_HAVE)
            .filter_map(|place| self.position(*place));
        wire::sync(id, named, syncing.cursor.as_deref())
    }

    /// A page came.
    pub(super) fn synced(
        &mut self,
        mut syncing: Syncing,
        bases: Vec<Basis>,
        frame: &Frame<'_>,
        world: &mut World,
    ) {
        let bases: HashMap<usize, Basis> = syncing.rest.iter().copied().zip(bases).collect();
        let catching_up = syncing.is_to_catch_up();
        for item in &frame.items {
            let Some(place) = item.c.and_then(|c| self.by_name.get(c)).copied() else {
                continue;
            };
            for event in &item.events {
                if catching_up {
                    self.event(place, event, false, world);
                } else {
                    self.sight(place, event, world);
                }
            }
        }
        let found: HashMap<&str, u64> = frame.as_of.iter().copied().collect();
        for (c, as_of) in &found {
            let Some(place) = self.by_name.get(*c).copied() else {
                continue;
            };
            // One that the client didn't ask for is read by nobody.
            let Some(basis) = bases.get(&place) else { continue };
            self.got_to(place, "sync", basis, *as_of, world);
            if catching_up {
                if let Some(missing) = self.places[place].synced(*as_of) {
                    self.stream_hole(place, missing, world);
                }
                self.drain(place, world);
            }
        }
        let next = frame.next.as_ref().map(|next| next.to_string());
        syncing.answered(next, &found, |place| &self.places[place].name);
        if syncing.cursor.is_some() {
            return self.todo.push((0, Task::Sync(syncing)));
        }
        let mut passed = std::mem::take(&mut syncing.passed);
        passed.retain(|place| !self.put_out(*place, world));
        match syncing.purpose {
            Purpose::Probe => {}
            Purpose::Last(reply) if passed.is_empty() => drop(reply.send(())),
            Purpose::CatchUp if passed.is_empty() => {}
            // The next try may find them.
            purpose => self.sync(passed, purpose, 200, world),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_up_to_the_end_of_a_page_and_is_not_in_it_was_passed_by() {
        let names = ["a", "b", "c", "d", "e"];
        let mut syncing = Syncing {
            rest: vec![0, 1, 2, 3, 4],
            passed: Vec::new(),
            cursor: None,
            purpose: Purpose::CatchUp,
        };
        syncing.answered(Some("c".to_owned()), &[("a", 1), ("c", 1)].into(), |place| {
            names[place]
        });
        assert_eq!(
            (syncing.rest(), syncing.passed.as_slice()),
            (&[3, 4][..], &[1][..])
        );
        syncing.answered(None, &[("e", 1)].into(), |place| names[place]);
        assert_eq!(
            (syncing.rest().len(), syncing.passed.as_slice()),
            (0, &[1, 3][..])
        );
    }
}
