//! Pages of a list that moves while it is read.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::response::LastEvent;

use super::*;
use crate::shard_client::conversation_list::stale;
use crate::state_machine::Direction;

const START: u64 = 10_000_000;
const SLACK: u64 = 1_000;
const WINDOW: u64 = 30_000;

/// A conversation: as it is, and as the list knows it.
#[derive(Clone, Debug)]
struct Conv {
    id: ConversationId,
    ts: u64,
    s: u64,
    position: u64,
    large: bool,
    shard: usize,
}

#[derive(Default)]
struct Simulation {
    convs: Vec<Conv>,
    silent: Option<usize>,
}

impl Simulation {
    /// `ages`: how long ago something was sent.
    fn new(ages: &[u64]) -> Simulation {
        let conv = |(i, age): (usize, &u64)| Conv {
            id: ConversationId::parse(&format!("g_{i:04}")).unwrap(),
            ts: START - age,
            s: 1,
            position: START - age,
            large: false,
            shard: i % 4,
        };
        Simulation {
            convs: ages.iter().enumerate().map(conv).collect(),
            silent: None,
        }
    }

    /// What the user's shard answers.
    fn placed(&self, cursor: &ListCursor, limit: usize) -> Vec<PlacedEntry> {
        let (from, direction) = cursor.from();
        let mut convs: Vec<&Conv> = self.convs.iter().collect();
        convs.sort_by(|a, b| b.position.cmp(&a.position).then_with(|| a.id.cmp(&b.id)));
        let behind = |conv: &&Conv| {
            from.as_ref()
                .is_none_or(|from| is_behind(conv.position, &conv.id, from))
        };
        let before = |conv: &&Conv| {
            from.as_ref()
                .is_none_or(|(ms, id)| conv.position > *ms || conv.position == *ms && conv.id < *id)
        };
        let convs: Vec<&Conv> = match direction {
            Direction::Older => convs.into_iter().filter(behind).collect(),
            Direction::Newer => convs.into_iter().rev().filter(before).collect(),
        };
        let placed = |conv: &Conv| PlacedEntry {
            conv: conv.id.clone(),
            ms: conv.position,
            since_ms: 0,
            last: LastEvent::default(),
            large: conv.large,
        };
        convs.into_iter().take(limit).map(placed).collect()
    }

    /// What the owner answers.
    fn row(&self, placed: PlacedEntry) -> InboxRow {
        // The id is the index: a search per row would take most of the test's time.
        let at: usize = placed.conv.as_str()[2..].parse().unwrap();
        let conv = &self.convs[at];
        let silent = self.silent == Some(conv.shard);
        InboxRow {
            ts: if silent { placed.ms } else { conv.ts.max(placed.ms) },
            s: (!silent).then_some(conv.s),
            item: ConversationListItem {
                stale: silent,
                ..stale(placed.conv.clone())
            },
            placed,
        }
    }

    fn step(&self, cursor: ListCursor, limit: usize) -> PageCut {
        let PagePlan { cursor, placed, more } = {
            let placed = self.placed(&cursor, rows(limit));
            plan(cursor, placed, limit)
        };
        let end = placed.last().map(|placed| (placed.ms, placed.conv.clone()));
        let rows = placed.into_iter().map(|placed| self.row(placed)).collect();
        cut(cursor, rows, end.filter(|_| more), limit)
    }

    /// A whole list; `between` is what happens after each page.
    fn list(&mut self, limit: usize, mut between: impl FnMut(&mut Simulation, usize)) -> Vec<String> {
        let mut seen = Vec::new();
        let mut cursor = ListCursor::begin(START, SLACK, WINDOW);
        for pages in 0.. {
            assert!(pages < 2_000, "it never ends");
            let page = self.step(cursor, limit);
            assert!(page.items.len() <= limit);
            seen.extend(page.items.iter().map(|item| item.conversation.to_string()));
            let Some(next) = page.next else { break };
            cursor = ListCursor::parse(&next.to_string()).unwrap();
            between(self, pages);
        }
        seen
    }

    /// Something is sent, and the list knows of it or not yet.
    fn send(&mut self, at: usize, now: u64, delivered: bool) {
        let at = at % self.convs.len();
        let conv = &mut self.convs[at];
        (conv.ts, conv.s) = (now, conv.s + 1);
        if delivered {
            conv.position = now;
        }
    }
}

fn id(i: usize) -> String {
    format!("g_{i:04}")
}

#[test]
fn a_page_is_sorted_by_the_last_messages_although_the_list_lags() {
    let mut simulation = Simulation::new(&[20_000, 10_000, 500_000, 400_000]);
    // Told at the beginning of the window; a message came since.
    simulation.convs[0].ts = START - 1;
    assert_eq!(simulation.list(1, |_, _| ()), [id(0), id(1), id(3), id(2)]);
}

#[test]
fn a_page_asks_about_a_bounded_number_of_conversations() {
    for (count, age) in [(10, 1_000), (1_000, 1_000), (10_000, 1_000), (10_000, 500_000)] {
        let simulation = Simulation::new(&vec![age; count]);
        let cursor = ListCursor::begin(START, SLACK, WINDOW);
        let placed = simulation.placed(&cursor, rows(20));
        assert!(
            plan(cursor, placed, 20).placed.len() <= 20 + YOUNG,
            "{count} {age}"
        );
    }
}

#[test]
fn what_moved_to_the_front_meanwhile_comes_at_the_end() {
    let mut simulation = Simulation::new(&[100_000, 200_000, 300_000]);
    let seen = simulation.list(1, |simulation, page| {
        if page == 0 {
            simulation.send(2, START + 5, true);
        }
    });
    assert_eq!(seen, [id(0), id(1), id(2)]);
}

#[test]
fn a_late_note_between_pages_of_a_busy_list_hides_no_row() {
    let mut simulation = Simulation::new(&(0..200).map(|i| 15_000 + i * 80).collect::<Vec<_>>());
    // Sent before the list was started, within the window of the row's last note.
    simulation.convs[199].ts = START - 14_000;
    let seen = simulation.list(20, |simulation, page| {
        if page == 3 {
            simulation.convs[199].position = START - 14_000;
        }
    });
    assert!(seen.contains(&id(199)));
}

#[test]
fn notes_delayed_by_a_takeover_hide_no_row() {
    let mut simulation = Simulation::new(&[40_000, 60_000, 90_000]);
    // Older than a window: the owner of both died before it sent the notes, and the next one sends them late.
    simulation.convs[1].ts = START - 45_000;
    simulation.convs[2].ts = START - 44_000;
    let seen = simulation.list(1, |simulation, page| {
        if page == 1 {
            simulation.convs[2].position = START - 44_000;
        }
    });
    assert!(seen.contains(&id(2)), "{seen:?}");
}

proptest! {
    /// A list in which nothing moves shows each conversation once, also right after much was sent, and in the order of
    /// the last messages while what is young can be asked about.
    #[test]
    fn a_quiet_list_repeats_nothing(
        ages in prop::collection::vec((0..200_000u64, 0..29_000u64), 1..300),
        limit in 1..60usize,
    ) {
        let mut simulation = Simulation::new(&ages.iter().map(|(age, _)| *age).collect::<Vec<_>>());
        for (conv, (_, lag)) in simulation.convs.iter_mut().zip(&ages) {
            // The window in which it was told last is not over.
            if conv.ts > START - 29_000 {
                conv.position = (conv.ts - lag).max(START - 29_000);
            }
        }
        let young = simulation.convs.iter().filter(|conv| conv.position >= START - SLACK - WINDOW).count();
        let seen = simulation.list(limit, |_, _| ());
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), simulation.convs.len());
        // A cursor remembers so many young rows; with more, those of the last moments may come twice.
        if young <= 40 {
            prop_assert_eq!(seen.len(), simulation.convs.len());
        }
        if young <= YOUNG {
            let times: BTreeMap<String, u64> =
                simulation.convs.iter().map(|conv| (conv.id.to_string(), conv.ts)).collect();
            let first = &seen[..simulation.convs.len()];
            prop_assert!(first.is_sorted_by_key(|id| Reverse(times[id])), "{first:?}");
        }
    }

    /// Messages arrive, the list learns of them at once, late or never, shards fall silent and come back, page by page:
    /// every conversation is shown, and the list ends.
    #[test]
    fn paging_leaves_out_no_conversation_under_changes(
        ages in prop::collection::vec((0..100_000u64, any::<bool>(), 0..29_000u64), 1..80),
        hot in 0..400usize,
        limit in 1..9usize,
        events in prop::collection::vec((0..480usize, 0..4u8, 0..8usize), 0..80),
    ) {
        let hot = (0..hot as u64).map(|i| (i * 50, false, i * 997 % 29_000));
        let ages: Vec<_> = ages.into_iter().chain(hot).collect();
        let mut simulation = Simulation::new(&ages.iter().map(|(age, ..)| *age).collect::<Vec<_>>());
        for (conv, (_, large, lag)) in simulation.convs.iter_mut().zip(&ages) {
            conv.large = *large;
            // A note follows within the window, so one of an older message may come between two pages.
            if conv.ts > START - 29_000 {
                conv.position = (conv.ts - lag).max(START - 29_000);
            }
        }
        let count = simulation.convs.len();
        let mut events = events.into_iter();
        let mut now = START;
        let seen = simulation.list(limit, |simulation, _| {
            now += 10;
            match events.next() {
                Some((at, 0 | 1, _)) => simulation.send(at, now, true),
                Some((at, 2, _)) => simulation.send(at, now, false),
                Some((at, _, shard)) => {
                    simulation.silent = Some(shard);
                    let at = at % count;
                    simulation.convs[at].position = simulation.convs[at].ts;
                }
                None => simulation.silent = None,
            }
        });
        let mut once = seen;
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), count);
    }
}
