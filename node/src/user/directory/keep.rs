//! Carries out what follows from a shard's directory: one task per owned shard.
//!
//! It tells the nodes that attend what has become of their sessions and of the users they watch, one message per node
//! under way, and has the log note when a user was seen last.

use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster::{CallError, NodeId};
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use protocol::UserId;
use tracing::debug;

use crate::conversation::Conversations;
use crate::conversation::shard::core::Core;
use crate::conversation::timeline::Command;
use crate::rpc;
use crate::rpc::presence::News;

/// What happens within this time is told together.
const GATHER: Duration = Duration::from_millis(10);
/// When news that did not arrive is told again.
const RETRY: Duration = Duration::from_millis(200);
/// Times noted by one step; the rest follows with the next.
const SAVES: usize = 256;

/// What came to an end.
enum Landed {
    Told(NodeId, News, Result<(), CallError>),
    Saved(UserId, bool),
}

/// Runs until the shard's actors end.
pub(crate) async fn run(core: Rc<Core>) {
    let conversations = Conversations::new(core.shared.clone());
    let users = core.users.clone();
    let metrics = core.shared.user_metrics.clone();
    let mut under_way: FuturesUnordered<LocalBoxFuture<'static, Landed>> = FuturesUnordered::new();
    let mut unsaved: Vec<(UserId, u64)> = Vec::new();
    let mut displaced = 0;
    loop {
        let due = users.look(|users| users.next_due().into_iter().chain(users.news_due()).min());
        tokio::select! {
            () = users.wake.notified() => tokio::time::sleep(GATHER).await,
            () = wait_until(due) => {}
            Some(landed) = under_way.next() => {
                let now = Instant::now();
                users.look_mut(|users| match landed {
                    Landed::Told(node, news, Ok(())) => users.told(node, news.registration),
                    Landed::Told(node, news, Err(error)) => {
                        debug!(%node, %error, "news not taken, trying again");
                        users.untold(node, news, now + RETRY);
                    }
                    Landed::Saved(user, false) => users.not_saved(&user, now),
                    Landed::Saved(_, true) => {}
                });
            }
        }
        let Some(cluster) = core.shared.cluster() else {
            return;
        };
        let (now, now_ms) = (Instant::now(), core.shared.settings.clock.now_ms());
        let news = users.look_mut(|users| {
            users.sweep(now, now_ms);
            unsaved.append(&mut users.take_saves());
            metrics
                .displaced
                .inc_by(users.displaced - std::mem::replace(&mut displaced, users.displaced));
            users.take_news(core.shard.0, core.epoch, now, now_ms)
        });
        for (node, news) in news {
            metrics.news.inc_by(news.items.len() as u64);
            let call = cluster.call(
                node,
                rpc::NEWS,
                rpc::encode(&news),
                core.shared.settings.call_deadline,
            );
            under_way.push(Box::pin(async move {
                let told = call.await.map(drop);
                Landed::Told(node, news, told)
            }));
        }
        let step = unsaved.len().min(SAVES.saturating_sub(under_way.len()));
        for (user, seen) in unsaved.drain(..step) {
            metrics.seen_saved.inc();
            let saved = conversations.submit_to(Some(core.shard), Command::seen(user.clone(), seen));
            under_way.push(Box::pin(async move { Landed::Saved(user, saved.await.is_ok()) }));
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
