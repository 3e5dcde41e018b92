//! Typing: from a session to the conversation's owner, and from there to everybody who listens. In no log: a notice that
//! finds no owner, no room or no permission is dropped, and the next one tells.
//!
//! The owner looks up whether the user may write there, because it alone knows; what it delivers carries its epoch like
//! everything else, so that a deposed owner's notices are recognised.

use std::sync::Arc;

use bytes::Bytes;
use cluster::NodeId;
use protocol::event::{Event, Typing as Wire};
use protocol::{ConvId, UserId};

use super::recent::About;
use super::shard::messages::Typed;
use super::shared::Shared;
use super::timeline::{Published, read};
use crate::rpc;
use crate::rpc::presence::Typing;

/// Says that the user types, or has stopped.
pub(crate) fn tell(shared: &Shared, user: UserId, conv: ConvId, on: bool) {
    let told = shared.cluster().and_then(|cluster| {
        let owner = cluster.route(cluster.shard_of(conv.as_str().as_bytes())).owner?;
        cluster
            .cast(owner, rpc::TYPING, rpc::encode(&Typing { conv, user, on }))
            .ok()
    });
    if told.is_none() {
        shared.user_metrics.typing_dropped.inc();
    }
}

/// [`rpc::TYPING`], at the owner.
pub(crate) fn serve(shared: &Arc<Shared>, from: NodeId, body: &Bytes) {
    let typing: Typing = match rpc::decode(body) {
        Ok(typing) => typing,
        Err(error) => return tracing::debug!(%from, %error, "typing can't be read"),
    };
    let Some(place) = shared.reads.place() else {
        shared.user_metrics.typing_dropped.inc();
        return;
    };
    let shared = shared.clone();
    let runtime = shared.reads.runtime().clone();
    runtime.spawn(async move {
        let _place = place;
        match publish(&shared, typing).await {
            Some(()) => shared.user_metrics.typing.inc(),
            None => shared.user_metrics.typing_dropped.inc(),
        };
    });
}

/// Hands the notice to the shard's fan-out; `None` if it is dropped.
async fn publish(shared: &Arc<Shared>, Typing { conv, user, on }: Typing) -> Option<()> {
    let cluster = shared.cluster()?;
    let shard = cluster.shard_of(conv.as_str().as_bytes());
    let active = shared.active(shard)?;
    cluster.readable(shard, active.epoch).await.ok()?;
    let (rows, most) = (cluster.state(shard), shared.settings.users.typing_members);
    let (named, who) = (conv.clone(), user.clone());
    let may = shared
        .reads
        .run(move || read::may_type(&rows.view(), &named, &who, most));
    if !may.await.ok()?.ok()? {
        return None;
    }
    let event = Event::Typing(Wire {
        c: conv.clone(),
        u: user.clone(),
        on,
    });
    let published = Published {
        conv,
        seq: 0,
        tail: event.tail().into(),
        removes: None,
        adds: None,
        skip: 0,
        only: None,
    };
    active
        .addr
        .try_send(Typed(About::Typing(user, on), published))
        .ok()
}
