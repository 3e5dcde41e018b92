//! A node registers: its interest is added first, then the log is read, so no event falls between the two. What is
//! applied after the read is delivered, what was delivered before it is recognised by its number.
//!
//! The answer says who is a member and how far the log goes. It is given only by who proves to own the shard still: a node
//! that was paused would tell one who was just added that he is a stranger.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Instant;

use protocol::ConvId;

use super::core::Core;
use super::messages::Enrol;
use crate::conversation::reads::rows;
use crate::conversation::reads::serve::readable;
use crate::rpc::register::{Register, Registered, Unlogged};
use crate::rpc::{self, Refused};

/// Bytes of what was said lately, in one answer. Beyond, it is lost, as any of it may be.
const RECENT_BYTES: usize = 256 << 10;

pub(super) fn enrol(core: &Rc<Core>, enrol: Enrol) {
    let Enrol { node, wants, reply } = enrol;
    if wants.epoch != core.epoch {
        let owner = core.shared.cluster().map(|cluster| cluster.node_id().0);
        return reply.send(Err(rpc::encode(&Refused::NotOwner {
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
    if !known {
        return reply.send(Err(rpc::encode(&Refused::Unregistered)));
    }
    // What is said from here on is delivered.
    let recent = recent(core, &wants);
    let (shared, shard) = (core.shared.clone(), core.shard);
    core.shared.reads.runtime().spawn(async move {
        let answer = match readable(&shared, shard).await {
            Ok(state) => {
                let read = move || rows::registered(&state.view(), &wants);
                shared.reads.run(read).await.and_then(|answer| answer)
            }
            Err(refused) => Err(refused),
        };
        let answer = answer.map(|answer| Registered { recent, ..answer });
        reply.send(
            answer
                .map(|answer| rpc::encode(&answer))
                .map_err(|refused| rpc::encode(&refused)),
        );
    });
}

/// What was said lately of the conversations of which a node missed something, or into which it lets somebody.
fn recent(core: &Core, wants: &Register) -> Vec<Unlogged> {
    let known = wants.convs.iter().filter(|(_, have)| have.is_some());
    let convs: HashSet<&ConvId> = known
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
