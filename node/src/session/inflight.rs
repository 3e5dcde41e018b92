//! Everything a session waits for, as one stream: a context polls all its futures at each wake, so it gets only one.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, Stream};

use super::link::Link;

/// What is done in the session when something it waited for has come.
pub(super) type Effect<S, C> = Box<dyn FnOnce(&mut S, &mut C)>;

type Futures<S, C> = FuturesUnordered<LocalBoxFuture<'static, Effect<S, C>>>;

/// The futures of one session.
pub(super) struct Inflight<S, C> {
    futures: Rc<RefCell<Futures<S, C>>>,
    link: Rc<Link>,
}

/// An item of the stream.
pub(super) enum Progress<S, C> {
    /// Look at the timers and the backlog.
    Nudged,
    /// Something has come.
    Effect(Effect<S, C>),
}

// === impl Inflight ===

impl<S, C> Inflight<S, C> {
    pub(super) fn new(link: Rc<Link>) -> Inflight<S, C> {
        Inflight {
            futures: Rc::default(),
            link,
        }
    }

    /// Waits for one more.
    pub(super) fn push(&self, future: LocalBoxFuture<'static, Effect<S, C>>) {
        self.futures.borrow_mut().push(future);
        self.link.wake();
    }
}

impl<S, C> Clone for Inflight<S, C> {
    fn clone(&self) -> Self {
        Inflight {
            futures: self.futures.clone(),
            link: self.link.clone(),
        }
    }
}

impl<S, C> Stream for Inflight<S, C> {
    type Item = Progress<S, C>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.link.poll_nudge(cx) {
            return Poll::Ready(Some(Progress::Nudged));
        }
        match Pin::new(&mut *self.futures.borrow_mut()).poll_next(cx) {
            Poll::Ready(Some(effect)) => Poll::Ready(Some(Progress::Effect(effect))),
            // Empty is not the end: there will be more.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
