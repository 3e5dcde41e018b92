//! The search for the highest rate that holds: doubled until it fails, then halved in between. Pure: takes whether the
//! last rate held, says which one to try.

/// The search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    next: f64,
    /// The highest that held.
    held: Option<f64>,
    /// The lowest that failed.
    failed: Option<f64>,
    precision: f64,
}

/// Below that there is nothing to find.
const LOWEST: f64 = 1.0;

// === impl Search ===

impl Search {
    /// `precision` is how far the answer may be from the truth, as a part of itself.
    pub(crate) fn new(first: f64, precision: f64) -> Search {
        Search {
            next: first.max(LOWEST),
            held: None,
            failed: None,
            precision: precision.max(0.001),
        }
    }

    /// The rate to try now; `None` when the answer is close enough.
    pub(crate) fn next(&self) -> Option<f64> {
        let found = match (self.held, self.failed) {
            (Some(held), Some(failed)) => failed - held <= held * self.precision,
            (None, Some(failed)) => failed <= LOWEST,
            _ => false,
        };
        (!found).then_some(self.next)
    }

    /// The highest rate that held.
    pub(crate) fn held(&self) -> Option<f64> {
        self.held
    }

    /// What became of the rate that was to be tried.
    pub(crate) fn judge(&mut self, held: bool) {
        let end = if held { &mut self.held } else { &mut self.failed };
        *end = Some(self.next);
        self.next = match (self.held, self.failed) {
            (Some(held), Some(failed)) => (held + failed) / 2.0,
            (None, Some(failed)) => (failed / 2.0).max(LOWEST),
            _ => self.next * 2.0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_search_finds_the_edge_from_wherever_it_begins(edge in 1.0f64..100_000.0, first in 1.0f64..100_000.0) {
            let mut search = Search::new(first, 0.05);
            let mut probes = 0;
            while let Some(rate) = search.next() {
                search.judge(rate <= edge);
                probes += 1;
                prop_assert!(probes < 60);
            }
            let held = search.held().unwrap();
            prop_assert!(held <= edge && edge <= held * 1.0501, "{held} for {edge}");
        }
    }

    #[test]
    fn a_cluster_that_holds_nothing_ends_the_search() {
        let mut search = Search::new(64.0, 0.05);
        while search.next().is_some() {
            search.judge(false);
        }
        assert_eq!(search.held(), None);
    }
}
