//! The window against a model of the owner.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item(u64);

impl WindowItem for Item {
    type CommandSender = u64;

    fn bytes(&self) -> usize {
        10
    }
    fn sender(&self) -> Option<u64> {
        Some(self.0 % 3)
    }
}

fn bounds() -> WindowLimits {
    WindowLimits {
        entries: 1000,
        bytes: 100_000,
        batch_entries: 4,
        batch_bytes: 1000,
        flights: 3,
    }
}

#[test]
fn a_full_window_gives_the_entry_back() {
    let mut window = SendWindow::new(WindowLimits {
        entries: 2,
        ..bounds()
    });
    window.push(Item(1)).unwrap();
    window.push(Item(2)).unwrap();
    assert_eq!(window.push(Item(3)), Err(Item(3)));
    let tag = window.launch(|_| ()).unwrap();
    assert_eq!(
        window.push(Item(3)),
        Err(Item(3)),
        "what is under way still counts"
    );
    window.answered(tag).unwrap();
    window.push(Item(3)).unwrap();
}

#[test]
fn an_expired_entry_takes_along_what_its_sender_pushed_later() {
    let mut window = SendWindow::new(bounds());
    for i in 0..6 {
        window.push(Item(i)).unwrap();
    }
    let tag = window.launch(|_| ()).unwrap();
    let gone = window.expire(|item| item.0 == 1);
    assert_eq!(
        gone,
        vec![
            ExpiredItems {
                entry: Item(1),
                unknown: true
            },
            ExpiredItems {
                entry: Item(4),
                unknown: false
            }
        ],
        "4 follows 1, and was never sent"
    );
    let answered = window.answered(tag).unwrap();
    assert_eq!(
        answered,
        vec![Some(Item(0)), None, Some(Item(2)), Some(Item(3))],
        "positions are kept"
    );
    assert_eq!(window.len(), 1);
}

#[test]
fn what_follows_a_refused_batch_was_not_applied() {
    let mut window = SendWindow::new(bounds());
    for i in 0..12 {
        window.push(Item(i)).unwrap();
    }
    let _first = window.launch(|_| ()).unwrap();
    let second = window.launch(|_| ()).unwrap();
    let _third = window.launch(|_| ()).unwrap();
    window.restart(Some(second));
    let unknown: Vec<bool> = window
        .expire(|_| true)
        .into_iter()
        .map(|gone| gone.unknown)
        .collect();
    assert_eq!(unknown, [vec![true; 4], vec![false; 8]].concat());
}

/// An owner that takes batches of one stream in order, and loses whatever `lose` says.
#[derive(Default)]
struct Owner {
    stream: Option<u64>,
    next: u64,
    log: Vec<u64>,
}

impl Owner {
    fn take(&mut self, tag: BatchSeq, items: &[u64]) -> bool {
        if self.stream.is_none_or(|stream| tag.stream > stream) && tag.number == 0 {
            (self.stream, self.next) = (Some(tag.stream), 0);
        }
        if self.stream != Some(tag.stream) || tag.number != self.next {
            return false;
        }
        self.next += 1;
        for item in items {
            // A client id is applied once.
            if !self.log.contains(item) {
                self.log.push(*item);
            }
        }
        true
    }
}

proptest! {
    /// Whatever is lost, delayed, or answered out of order: each entry is applied once, and in order.
    #[test]
    fn restarts_neither_lose_nor_reorder(steps in prop::collection::vec((0u8..7, any::<u8>()), 1..200)) {
        let mut window = SendWindow::new(bounds());
        let mut owner = Owner::default();
        let mut wire: Vec<(BatchSeq, Vec<u64>)> = Vec::new();
        let mut answers: Vec<(BatchSeq, bool)> = Vec::new();
        let mut pushed = 0;
        let mut drain = false;
        let mut steps = steps.into_iter();
        for _ in 0..5000 {
            let (step, pick) = steps.next().unwrap_or_else(|| { drain = true; (0, 0) });
            if drain && pushed == owner.log.len() as u64 && window.len() == 0 { break; }
            let steps: &[u8] = if drain { &[2, 3, 5] } else { std::slice::from_ref(&step) };
            for step in steps {
                match step {
                    0 | 1 if pushed < 60 => { window.push(Item(pushed)).unwrap(); pushed += 1; }
                    2 => {
                        let mut items = Vec::new();
                        if let Some(tag) = window.launch(|item| items.push(item.0)) { wire.push((tag, items)); }
                    }
                    3 if !wire.is_empty() => {
                        let (tag, items) = wire.remove(0);
                        answers.push((tag, owner.take(tag, &items)));
                    }
                    4 if !wire.is_empty() => { wire.remove(usize::from(pick) % wire.len()); window.restart(None); }
                    5 if !answers.is_empty() => {
                        let (tag, taken) = answers.remove(usize::from(pick) % answers.len());
                        if taken { window.answered(tag); } else if tag.stream == window.stream { window.restart(Some(tag)); }
                    }
                    6 if !answers.is_empty() => { answers.remove(0); window.restart(None); }
                    _ => {}
                }
            }
            if drain && wire.is_empty() && answers.is_empty() && window.in_flight() > 0 { window.restart(None); }
        }
        let expected: Vec<u64> = (0..pushed).collect();
        prop_assert_eq!(owner.log, expected);
        prop_assert_eq!(window.len(), 0);
    }
}
