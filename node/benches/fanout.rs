//! Events per second from a worker's queue to its subscribers: 1, 100 and 10,000 of them in one conversation. The cost
//! per subscriber should not grow with their number.
#![expect(clippy::unwrap_used, reason = "a bench stops at the first surprise")]

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::System;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use node::testkit::{DetachedHub, EventEnvelope, Subscriber, SubscriptionHub};
use protocol::{ConversationId, UserId};
use tokio::sync::Notify;

/// Events in one batch of the relay.
const BATCH: u64 = 16;

/// Takes an event as a session does: a clone of the shared bytes, pushed somewhere.
struct Session {
    id: u64,
    user: UserId,
    held: Cell<Bytes>,
    calls: Rc<Calls>,
}

struct Calls {
    left: Cell<u64>,
    done: Notify,
}

// === impl Session ===

impl Subscriber for Session {
    fn id(&self) -> u64 {
        self.id
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn event(&self, published: &EventEnvelope) {
        self.held.set(black_box(published.tail.clone()));
        self.calls.left.set(self.calls.left.get() - 1);
        if self.calls.left.get() == 0 {
            self.calls.done.notify_one();
        }
    }

    fn jumped(&self, _: &ConversationId, _: u64) {}

    fn ended(&self, _: &ConversationId) {}

    fn joined(&self, _: &ConversationId) {}
}

async fn subscribers(count: u64, conv: &ConversationId) -> (SubscriptionHub, DetachedHub, Rc<Calls>) {
    let (hub, feed) = SubscriptionHub::detached();
    let calls = Rc::new(Calls {
        left: Cell::new(0),
        done: Notify::new(),
    });
    for id in 1..=count {
        let user = UserId::parse(&format!("user-{id}")).unwrap();
        let session = Session {
            id,
            user,
            held: Cell::default(),
            calls: calls.clone(),
        };
        hub.subscribe(conv, Rc::new(session)).await.unwrap();
    }
    (hub, feed, calls)
}

async fn deliver(count: u64, batches: u64) -> Duration {
    let conv = ConversationId::parse("g_bench").unwrap();
    let (_hub, feed, calls) = subscribers(count, &conv).await;
    let tail = Bytes::from(vec![b'x'; 400]);
    let start = Instant::now();
    for batch in 0..batches {
        calls.left.set(count * BATCH);
        let event = |seq| {
            let (conv, tail) = (conv.clone(), tail.clone());
            Arc::new(EventEnvelope {
                conv,
                seq,
                tail,
                removes: None,
                adds: None,
                skip: 0,
                only: None,
            })
        };
        feed.push((batch * BATCH + 1..=(batch + 1) * BATCH).map(event).collect())
            .await;
        calls.done.notified().await;
    }
    start.elapsed()
}

fn fanout(c: &mut Criterion) {
    let mut group = c.benchmark_group("fanout");
    for count in [1u64, 100, 10_000] {
        group.throughput(Throughput::Elements(count * BATCH));
        group.bench_function(format!("{count} local subscribers"), |b| {
            b.iter_custom(|batches| System::new().block_on(deliver(count, batches)));
        });
    }
    group.finish();
}

criterion_group!(benches, fanout);
criterion_main!(benches);
