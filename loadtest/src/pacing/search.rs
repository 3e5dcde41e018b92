//! Search for the highest sustainable rate: doubles the rate until it fails, then bisects. Pure: it gets the result of
//! the last rate, and returns the next one.

/// State of the search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    next: f64,
    /// Highest rate that was sustained; `None` before the first.
    held: Option<f64>,
    /// Lowest rate that failed; `None` before the first.
    failed: Option<f64>,
    precision: f64,
}

/// Lowest rate that is tried.
const LOWEST: f64 = 1.0;

// === impl Search ===

impl Search {
    /// `precision` is the permitted relative error of the result.
    pub(crate) fn new(first: f64, precision: f64) -> Search {
        Search {
            next: first.max(LOWEST),
            held: None,
            failed: None,
            // A precision of 0 would never be reached.
            precision: precision.max(0.001),
        }
    }

    /// Returns the next rate to try; `None` once the result is precise enough.
    pub(crate) fn next(&self) -> Option<f64> {
        let found = match (self.held, self.failed) {
            (Some(held), Some(failed)) => failed - held <= held * self.precision,
            (None, Some(failed)) => failed <= LOWEST,
            _ => false,
        };
        (!found).then_some(self.next)
    }

    /// Returns the highest rate that was sustained; `None` if none was.
    pub(crate) fn held(&self) -> Option<f64> {
        self.held
    }

    /// Records the result of the current rate, and determines the next one.
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
