//! Cursors on their way to one shard: `read` and `recv` of this node's users, gathered for a moment so that many of them
//! cost one log entry.
//!
//! A cursor only moves forward, so of several for one user and conversation the furthest says everything. The first
//! after a quiet time goes at once; what follows within the pause goes together when it is over. Pure: time is an
//! argument.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use protocol::{ConvId, UserId};
use smallvec::SmallVec;

use crate::conversation::timeline::{Command, Op};

/// Gathered and not let go yet. `W` is who waits for the result.
#[derive(Debug)]
pub(super) struct Gather<W> {
    pause: Duration,
    last: Option<Instant>,
    /// In the order in which they came first.
    waiting: Vec<Cursors<W>>,
    at: HashMap<(ConvId, UserId), usize>,
}

/// The cursors of one user in one conversation.
#[derive(Debug)]
struct Cursors<W> {
    conv: ConvId,
    user: UserId,
    read: Option<u64>,
    delivered: Option<u64>,
    /// The session that needs no word of it; 0 once several asked.
    skip: u64,
    waiters: SmallVec<[W; 1]>,
}

/// A command to be sent, and who waits for it.
pub(super) type Ready<W> = (Command, SmallVec<[W; 1]>);

// === impl Gather ===

impl<W> Gather<W> {
    /// Lets cursors go at most once per `pause`.
    pub(super) fn new(pause: Duration) -> Gather<W> {
        Gather {
            pause,
            last: None,
            waiting: Vec::new(),
            at: HashMap::new(),
        }
    }

    /// Takes a cursor in; any other command is given back.
    pub(super) fn add(&mut self, command: Command, waiter: W) -> Result<(), (Command, W)> {
        let (read, delivered) = match command.op {
            Op::Read { s } => (Some(s), None),
            Op::Delivered { s } => (None, Some(s)),
            _ => return Err((command, waiter)),
        };
        let Command { conv, user, skip, .. } = command;
        match self.at.entry((conv.clone(), user.clone())) {
            Entry::Occupied(at) => {
                let known = &mut self.waiting[*at.get()];
                known.read = known.read.max(read);
                known.delivered = known.delivered.max(delivered);
                if known.skip != skip {
                    known.skip = 0;
                }
                known.waiters.push(waiter);
            }
            Entry::Vacant(at) => {
                at.insert(self.waiting.len());
                self.waiting.push(Cursors {
                    conv,
                    user,
                    read,
                    delivered,
                    skip,
                    waiters: SmallVec::from_iter([waiter]),
                });
            }
        }
        Ok(())
    }

    /// Conversations and users of which something waits.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When what waits is let go; `None` when nothing does.
    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.last.map(|last| last + self.pause);
        (!self.waiting.is_empty()).then(|| first.unwrap_or_else(Instant::now))
    }

    /// Lets go what waits, if it is time or `all` says so.
    pub(super) fn take(&mut self, now: Instant, all: bool) -> Vec<Ready<W>> {
        let due = self.last.is_none_or(|last| now >= last + self.pause);
        if self.waiting.is_empty() || !(due || all) {
            return Vec::new();
        }
        self.last = Some(now);
        self.at.clear();
        self.waiting.drain(..).flat_map(Cursors::commands).collect()
    }
}

// === impl Cursors ===

impl<W> Cursors<W> {
    /// One command, or two when more has arrived than was read. Whoever waits, waits for the last.
    fn commands(self) -> SmallVec<[Ready<W>; 2]> {
        let delivered = self.delivered.filter(|delivered| self.read < Some(*delivered));
        let command = |op| Command {
            conv: self.conv.clone(),
            user: self.user.clone(),
            cid: None,
            skip: self.skip,
            op,
        };
        let ops = [
            self.read.map(|s| Op::Read { s }),
            delivered.map(|s| Op::Delivered { s }),
        ];
        let mut ready: SmallVec<[Ready<W>; 2]> = ops
            .into_iter()
            .flatten()
            .map(|op| (command(op), SmallVec::new()))
            .collect();
        if let Some((_, waiters)) = ready.last_mut() {
            *waiters = self.waiters;
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command(conv: u64, user: u64, skip: u64, op: Op) -> Command {
        Command {
            conv: ConvId::parse(&format!("g_{conv}")).unwrap(),
            user: UserId::parse(&format!("u{user}")).unwrap(),
            cid: None,
            skip,
            op,
        }
    }

    #[test]
    fn the_first_cursor_goes_at_once_and_the_rest_after_the_pause() {
        let (start, pause) = (Instant::now(), Duration::from_millis(300));
        let mut gather = Gather::new(pause);
        gather.add(command(1, 1, 7, Op::Read { s: 5 }), 'a').unwrap();
        assert_eq!(gather.take(start, false).len(), 1);
        for (s, waiter) in [(6, 'b'), (9, 'c'), (8, 'd')] {
            gather.add(command(1, 1, 7, Op::Read { s }), waiter).unwrap();
        }
        assert_eq!(gather.due(), Some(start + pause));
        assert!(gather.take(start + pause / 2, false).is_empty());
        let ready = gather.take(start + pause, false);
        assert_eq!(ready.len(), 1, "{ready:?}");
        assert_eq!(ready[0].0, command(1, 1, 7, Op::Read { s: 9 }));
        assert_eq!(ready[0].1.to_vec(), ['b', 'c', 'd']);
        assert_eq!(gather.due(), None);
    }

    #[test]
    fn a_message_is_not_a_cursor() {
        let mut gather = Gather::new(Duration::ZERO);
        assert!(gather.add(command(1, 1, 0, Op::Leave), ()).is_err());
    }

    #[test]
    fn two_devices_that_read_are_both_told() {
        let mut gather = Gather::new(Duration::ZERO);
        for skip in [7, 8] {
            gather.add(command(1, 1, skip, Op::Read { s: skip }), ()).unwrap();
        }
        assert_eq!(gather.take(Instant::now(), true)[0].0.skip, 0);
    }

    proptest! {
        /// Whatever is gathered: each user's furthest cursors come out, nobody who waits is forgotten, and there are no
        /// more commands than two per user and conversation.
        #[test]
        fn nothing_is_lost_by_gathering(asked in prop::collection::vec((0u64..3, 0u64..3, 1u64..50, any::<bool>()), 0..60)) {
            let mut gather = Gather::new(Duration::from_millis(300));
            let mut furthest: HashMap<(u64, u64), (u64, u64)> = HashMap::new();
            for (waiter, (conv, user, s, read)) in asked.iter().enumerate() {
                let op = if *read { Op::Read { s: *s } } else { Op::Delivered { s: *s } };
                gather.add(command(*conv, *user, 0, op), waiter).unwrap();
                let known = furthest.entry((*conv, *user)).or_default();
                if *read { known.1 = known.1.max(*s) }
                known.0 = known.0.max(*s);
            }
            let ready = gather.take(Instant::now(), true);
            prop_assert!(ready.len() <= 2 * furthest.len());
            let mut waiters: Vec<usize> = ready.iter().flat_map(|(_, waiters)| waiters.to_vec()).collect();
            waiters.sort_unstable();
            prop_assert_eq!(waiters, (0..asked.len()).collect::<Vec<_>>());
            for ((conv, user), (delivered, read)) in furthest {
                let mine = |command: &&Command| *command == &self::command(conv, user, 0, command.op.clone());
                let (mut got_delivered, mut got_read) = (0, 0);
                for command in ready.iter().map(|(command, _)| command).filter(mine) {
                    match command.op {
                        Op::Read { s } => { got_read = s; got_delivered = got_delivered.max(s) }
                        Op::Delivered { s } => got_delivered = got_delivered.max(s),
                        _ => prop_assert!(false),
                    }
                }
                prop_assert_eq!((got_delivered, got_read), (delivered, read));
            }
        }
    }
}
