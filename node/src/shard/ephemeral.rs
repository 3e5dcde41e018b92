//! Typing notices at the shard owner, which checks them and fans them out. They are in no log.
//!
//! A notice is dropped without a reachable shard owner, a free query permit or the sender's permission; the next notice
//! replaces it. The shard owner checks the permission, because only its rows are current. Deliveries carry its epoch,
//! so receivers recognise the notices of a deposed owner.

use std::sync::Arc;

use bytes::Bytes;
use cluster::NodeId;
use protocol::event::{Event, TypingEvent as Wire};

use super::messages::EphemeralEvent;
use super::recent::RecentSubject;
use super::shard_deps::ShardDeps;
use crate::rpc;
use crate::rpc::presence::TypingUpdate;
use crate::state_machine::{EventEnvelope, query};

/// Serves [`rpc::TYPING`] at the shard owner.
pub(crate) fn serve(shared: &Arc<ShardDeps>, from: NodeId, body: &Bytes) {
    let typing: TypingUpdate = match rpc::decode(body) {
        Ok(typing) => typing,
        Err(error) => return tracing::debug!(%from, %error, "malformed typing update"),
    };
    // Typing shares the permits of queries, so a flood of notices cannot queue unbounded reads.
    let Some(permit) = shared.reads.permit() else {
        shared.client.user_metrics.typing_dropped.inc();
        return;
    };
    let shared = shared.clone();
    let runtime = shared.reads.runtime().clone();
    // Spawned, because the caller is a transport thread and the check reads the disk.
    runtime.spawn(async move {
        let _permit = permit;
        match publish(&shared, typing).await {
            Some(()) => shared.client.user_metrics.typing.inc(),
            None => shared.client.user_metrics.typing_dropped.inc(),
        };
    });
}

/// Checks the notice and sends it to the shard's actor; returns `None` if it is dropped.
async fn publish(shared: &Arc<ShardDeps>, TypingUpdate { conv, user, on }: TypingUpdate) -> Option<()> {
    let cluster = shared.client.cluster()?;
    let shard = cluster.shard_of(&conv);
    let active = shared.active(shard)?;
    // The rows of a deposed owner may still list a member who was removed.
    cluster.readable(shard, active.epoch).await.ok()?;
    let (rows, most) = (cluster.state(shard), shared.settings.users.typing_members);
    let (named, who) = (conv.clone(), user.clone());
    let may = shared
        .reads
        .run(move || query::may_type(&rows.view(), &named, &who, most));
    if !may.await.ok()?.ok()? {
        return None;
    }
    let event = Event::Typing(Wire {
        conversation: conv.clone(),
        user: user.clone(),
        active: on,
    });
    let published = EventEnvelope {
        conv,
        seq: 0,
        tail: event.tail().into(),
        removes: None,
        adds: None,
        skip: 0,
        only: None,
    };
    // A full mailbox drops the notice: ephemeral events must not block the caller.
    active
        .addr
        .try_send(EphemeralEvent(RecentSubject::Typing(user, on), published))
        .ok()
}
