//! Registration of a node's interest: the interest is added first, then the log is read, so no event is missed between
//! the two. Events applied after the read arrive as deliveries; events in both are recognised by their seq.
//!
//! The response contains memberships and log positions. It is sent only after a proof of ownership: the rows of a
//! paused node would deny a membership that was added since.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Instant;

use protocol::ConversationId;

use super::context::ShardContext;
use super::messages::RegisterNode;
use super::queries::rows;
use super::queries::serve::readable;
use crate::rpc::register::{InterestRegistered, RegisterInterest, Unlogged};
use crate::rpc::{self, RpcError};

/// Bytes of recent unlogged events in one response. Further ones are left out, which every unlogged event allows.
const RECENT_BYTES: usize = 256 << 10;

pub(super) fn register(core: &Rc<ShardContext>, registration: RegisterNode) {
    let RegisterNode { node, wants, reply } = registration;
    // The refusal names this owner and epoch, so a node with an older one can register again at once.
    if wants.epoch != core.epoch {
        let owner = core.shared.client.cluster().map(|cluster| cluster.node_id().0);
        return reply.send(Err(rpc::encode(&RpcError::NotOwner {
            owner,
            epoch: core.epoch,
        })));
    }
    let known = core.interest.borrow_mut().register(
        node,
        wants.registration,
        wants.fresh,
        wants.convs.iter().map(|(conv, _)| conv),
        &wants.users,
    );
    // Added to an unknown registration, the node's earlier conversations would stay without deliveries.
    if !known {
        return reply.send(Err(rpc::encode(&RpcError::Unregistered)));
    }
    // Read after the interest was added and on the same thread: later events are delivered, so none is missed.
    let recent = recent(core, &wants);
    let (shared, shard) = (core.shared.clone(), core.shard);
    // On the runtime of reads: the proof and the read must not hold up the shard's thread.
    core.shared.reads.runtime().spawn(async move {
        let answer = match readable(&shared, shard).await {
            Ok(state) => {
                let read = move || rows::registered(&state.view(), &wants);
                shared.reads.run(read).await.and_then(|answer| answer)
            }
            Err(refused) => Err(refused),
        };
        let answer = answer.map(|answer| InterestRegistered { recent, ..answer });
        reply.send(
            answer
                .map(|answer| rpc::encode(&answer))
                .map_err(|refused| rpc::encode(&refused)),
        );
    });
}

/// Returns the recent events of conversations in which the node may have missed some, or gets a new subscriber.
fn recent(core: &ShardContext, wants: &RegisterInterest) -> Vec<Unlogged> {
    let known = wants.convs.iter().filter(|(_, have)| have.is_some());
    let convs: HashSet<&ConversationId> = known
        .map(|(conv, _)| conv)
        .chain(wants.admits.iter().map(|(conv, _)| conv))
        .collect();
    let (recent, now) = (core.recent.borrow(), Instant::now());
    let events = convs.into_iter().flat_map(|conv| recent.of(conv, now));
    let mut bytes = 0;
    let events = events.take_while(|event| {
        bytes += event.tail.len();
        bytes <= RECENT_BYTES
    });
    events
        .map(|event| Unlogged {
            conv: event.conv.clone(),
            tail: event.tail.clone(),
            skip: event.skip,
            only: event.only.clone(),
        })
        .collect()
}
