//! Watching what the cluster does by itself, until it is done: Ctrl-C and the end of the time stop the watching, not the
//! work.

use std::time::{Duration, Instant};

use super::CtlContext;
use super::failure::Failure;
use super::view::OverviewView;

/// Pause between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(500);

/// Result of a look at the cluster.
pub(super) enum Look<T> {
    Done(T),
    /// Missing things, for standard error.
    Waits(String),
}

/// Watch of one piece of work.
pub(super) struct Progress {
    wait: Duration,
    /// Text of the failure: the work that goes on without the watch.
    goes_on: String,
}

// === impl Progress ===

impl Progress {
    pub(super) fn new(wait: Duration, goes_on: impl Into<String>) -> Progress {
        Progress {
            wait,
            goes_on: goes_on.into(),
        }
    }

    /// Looks at the cluster until something is done, and prints what is missing whenever that has changed.
    ///
    /// # Errors
    /// A failure of `look`, or [`Failure::Unknown`] after the time and at Ctrl-C.
    pub(super) async fn until<T>(
        &self,
        context: &CtlContext,
        look: impl FnMut(&OverviewView) -> Result<Look<T>, Failure>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = self.watch(context, look) => done,
            _ = tokio::signal::ctrl_c() => Err(Failure::Unknown(format!("no longer watched; {}", self.goes_on))),
        }
    }

    async fn watch<T>(
        &self,
        context: &CtlContext,
        mut look: impl FnMut(&OverviewView) -> Result<Look<T>, Failure>,
    ) -> Result<T, Failure> {
        let given_up = Instant::now() + self.wait;
        let mut seen = String::new();
        loop {
            let text = match context.client.get::<OverviewView>(OverviewView::PATH).await {
                Ok(view) => match look(&view)? {
                    Look::Done(done) => return Ok(done),
                    Look::Waits(text) => text,
                },
                // Another token does not come by waiting.
                Err(failure @ Failure::NotAllowed(_)) => return Err(failure),
                // The node that is asked may stop meanwhile: the next look may succeed, at it or at another one.
                Err(failure) => failure.to_string(),
            };
            if text != seen {
                context.output.say(&text);
                seen = text;
            }
            if Instant::now() > given_up {
                return Err(Failure::Unknown(format!("{seen}; {}", self.goes_on)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
