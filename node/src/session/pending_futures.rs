//! Pending futures of a session, as one stream. An actix context polls each of its futures at every wake-up, so it gets
//! only this one.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, Stream};

use super::connection_handle::ConnectionHandle;

/// Continuation that runs in the session with the result of a future.
pub(super) type Continuation<S, C> = Box<dyn FnOnce(&mut S, &mut C)>;

type Futures<S, C> = FuturesUnordered<LocalBoxFuture<'static, Continuation<S, C>>>;

/// The futures of one session.
pub(super) struct PendingFutures<S, C> {
    futures: Rc<RefCell<Futures<S, C>>>,
    link: Rc<ConnectionHandle>,
}

/// Item of the stream of [`PendingFutures`].
pub(super) enum FutureEvent<S, C> {
    /// Timers, flags and backlog have to be checked.
    Nudged,
    Effect(Continuation<S, C>),
}

// === impl PendingFutures ===

impl<S, C> PendingFutures<S, C> {
    pub(super) fn new(link: Rc<ConnectionHandle>) -> PendingFutures<S, C> {
        PendingFutures {
            futures: Rc::default(),
            link,
        }
    }

    /// Adds a future to the set.
    pub(super) fn push(&self, future: LocalBoxFuture<'static, Continuation<S, C>>) {
        self.futures.borrow_mut().push(future);
        // Without the wake-up the new future would not be polled before another event.
        self.link.wake();
    }
}

impl<S, C> Clone for PendingFutures<S, C> {
    fn clone(&self) -> Self {
        PendingFutures {
            futures: self.futures.clone(),
            link: self.link.clone(),
        }
    }
}

impl<S, C> Stream for PendingFutures<S, C> {
    type Item = FutureEvent<S, C>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Before the futures: with many of them ready, the session would otherwise miss its deadlines.
        if self.link.poll_wake(cx) {
            return Poll::Ready(Some(FutureEvent::Nudged));
        }
        match Pin::new(&mut *self.futures.borrow_mut()).poll_next(cx) {
            Poll::Ready(Some(effect)) => Poll::Ready(Some(FutureEvent::Effect(effect))),
            // An empty set does not end the stream: futures may be added later.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
