//! Cursor coalescer of one shard: collects `read` and `recv` of this node's users, so that many of them cost one log
//! entry.
//!
//! A cursor only moves forward, so the furthest of one user and conversation replaces the others. The first one after a
//! quiet period is sent at once; those within the pause are sent together at its end. Pure: time is an argument.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use protocol::{ConversationId, UserId};
use smallvec::SmallVec;

use crate::state_machine::{CommandOrigin, ConversationOp, ShardCommand};

/// Collected cursors that are not sent yet. `W` is the receiver of a result.
#[derive(Debug)]
pub(super) struct CursorCoalescer<W> {
    pause: Duration,
    last: Option<Instant>,
    /// In order of their first arrival.
    waiting: Vec<CoalescedCursors<W>>,
    at: HashMap<(ConversationId, UserId), usize>,
}

/// Coalesced cursors of one user in one conversation.
#[derive(Debug)]
struct CoalescedCursors<W> {
    conv: ConversationId,
    user: UserId,
    read: Option<u64>,
    delivered: Option<u64>,
    /// Session that gets no echo of the receipt; 0 if there is none or several sessions reported cursors.
    skip: u64,
    waiters: SmallVec<[W; 1]>,
}

/// Command to be sent, with the receivers of its result.
pub(super) type FlushedCursors<W> = (ShardCommand, SmallVec<[W; 1]>);

// === impl CursorCoalescer ===

impl<W> CursorCoalescer<W> {
    /// Creates a coalescer that sends at most once per `pause`.
    pub(super) fn new(pause: Duration) -> CursorCoalescer<W> {
        CursorCoalescer {
            pause,
            last: None,
            waiting: Vec::new(),
            at: HashMap::new(),
        }
    }

    /// Adds a cursor command; returns any other command to the caller.
    pub(super) fn add(&mut self, command: ShardCommand, waiter: W) -> Result<(), (ShardCommand, W)> {
        let (conv, origin, read, delivered) = match command {
            ShardCommand::Conversation {
                conversation,
                origin,
                op: ConversationOp::Read { s },
            } => (conversation, origin, Some(s), None),
            ShardCommand::Conversation {
                conversation,
                origin,
                op: ConversationOp::Delivered { s },
            } => (conversation, origin, None, Some(s)),
            other => return Err((other, waiter)),
        };
        let CommandOrigin {
            user,
            exclude_session: skip,
            ..
        } = origin;
        match self.at.entry((conv.clone(), user.clone())) {
            Entry::Occupied(at) => {
                let known = &mut self.waiting[*at.get()];
                known.read = known.read.max(read);
                known.delivered = known.delivered.max(delivered);
                // With cursors of several devices, each device must get the receipt for the others.
                if known.skip != skip {
                    known.skip = 0;
                }
                known.waiters.push(waiter);
            }
            Entry::Vacant(at) => {
                at.insert(self.waiting.len());
                self.waiting.push(CoalescedCursors {
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

    /// Number of pairs of user and conversation with cursors.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the time of the next flush, or `None` without cursors.
    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.last.map(|last| last + self.pause);
        (!self.waiting.is_empty()).then(|| first.unwrap_or_else(Instant::now))
    }

    /// Removes and returns the commands if the pause is over or `all` is set.
    pub(super) fn take(&mut self, now: Instant, all: bool) -> Vec<FlushedCursors<W>> {
        let due = self.last.is_none_or(|last| now >= last + self.pause);
        if self.waiting.is_empty() || !(due || all) {
            return Vec::new();
        }
        self.last = Some(now);
        self.at.clear();
        self.waiting
            .drain(..)
            .flat_map(CoalescedCursors::commands)
            .collect()
    }
}

// === impl CoalescedCursors ===

impl<W> CoalescedCursors<W> {
    /// Converts the cursors to one command, or two if more was delivered than read. All receivers get the result of the
    /// last.
    fn commands(self) -> SmallVec<[FlushedCursors<W>; 2]> {
        // Reading implies delivery, so a delivered position up to the read one needs no command.
        let delivered = self.delivered.filter(|delivered| self.read < Some(*delivered));
        let command = |op| ShardCommand::Conversation {
            conversation: self.conv.clone(),
            origin: CommandOrigin {
                user: self.user.clone(),
                cid: None,
                exclude_session: self.skip,
            },
            op,
        };
        let ops = [
            self.read.map(|s| ConversationOp::Read { s }),
            delivered.map(|s| ConversationOp::Delivered { s }),
        ];
        let mut ready: SmallVec<[FlushedCursors<W>; 2]> = ops
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

    fn command(conv: u64, user: u64, skip: u64, op: ConversationOp) -> ShardCommand {
        ShardCommand::Conversation {
            conversation: ConversationId::parse(&format!("g_{conv}")).unwrap(),
            origin: CommandOrigin {
                user: UserId::parse(&format!("u{user}")).unwrap(),
                cid: None,
                exclude_session: skip,
            },
            op,
        }
    }

    fn op(command: &ShardCommand) -> ConversationOp {
        match command {
            ShardCommand::Conversation { op, .. } => op.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_cursor_goes_at_once_and_the_rest_after_the_pause() {
        let (start, pause) = (Instant::now(), Duration::from_millis(300));
        let mut gather = CursorCoalescer::new(pause);
        gather
            .add(command(1, 1, 7, ConversationOp::Read { s: 5 }), 'a')
            .unwrap();
        assert_eq!(gather.take(start, false).len(), 1);
        for (s, waiter) in [(6, 'b'), (9, 'c'), (8, 'd')] {
            gather
                .add(command(1, 1, 7, ConversationOp::Read { s }), waiter)
                .unwrap();
        }
        assert_eq!(gather.due(), Some(start + pause));
        assert!(gather.take(start + pause / 2, false).is_empty());
        let ready = gather.take(start + pause, false);
        assert_eq!(ready.len(), 1, "{ready:?}");
        assert_eq!(ready[0].0, command(1, 1, 7, ConversationOp::Read { s: 9 }));
        assert_eq!(ready[0].1.to_vec(), ['b', 'c', 'd']);
        assert_eq!(gather.due(), None);
    }

    #[test]
    fn a_message_is_not_a_cursor() {
        let mut gather = CursorCoalescer::new(Duration::ZERO);
        assert!(gather.add(command(1, 1, 0, ConversationOp::Leave), ()).is_err());
    }

    #[test]
    fn coalesced_cursors_of_two_devices_exclude_no_session() {
        let mut gather = CursorCoalescer::new(Duration::ZERO);
        for skip in [7, 8] {
            gather
                .add(command(1, 1, skip, ConversationOp::Read { s: skip }), ())
                .unwrap();
        }
        let ready = gather.take(Instant::now(), true);
        assert_eq!(ready[0].0, command(1, 1, 0, ConversationOp::Read { s: 8 }));
    }

    proptest! {
        /// Each user's furthest cursors are returned, every receiver is kept, and there are at most two commands per
        /// user and conversation.
        #[test]
        fn nothing_is_lost_by_gathering(asked in prop::collection::vec((0u64..3, 0u64..3, 1u64..50, any::<bool>()), 0..60)) {
            let mut gather = CursorCoalescer::new(Duration::from_millis(300));
            let mut furthest: HashMap<(u64, u64), (u64, u64)> = HashMap::new();
            for (waiter, (conv, user, s, read)) in asked.iter().enumerate() {
                let op = if *read { ConversationOp::Read { s: *s } } else { ConversationOp::Delivered { s: *s } };
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
                let mine = |command: &&ShardCommand| *command == &self::command(conv, user, 0, op(command));
                let (mut got_delivered, mut got_read) = (0, 0);
                for command in ready.iter().map(|(command, _)| command).filter(mine) {
                    match op(command) {
                        ConversationOp::Read { s } => { got_read = s; got_delivered = got_delivered.max(s) }
                        ConversationOp::Delivered { s } => got_delivered = got_delivered.max(s),
                        _ => prop_assert!(false),
                    }
                }
                prop_assert_eq!((got_delivered, got_read), (delivered, read));
            }
        }
    }
}
