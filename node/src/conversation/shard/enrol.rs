//! A node registers: its interest is added first, then the log is read, so no event falls between the two. What is
//! applied after the read is delivered, what was delivered before it is recognised by its number.
//!
//! The answer says who is a member and how far the log goes. It is given only by who proves to own the shard still: a node
//! that was paused would tell one who was just added that he is a stranger.

use std::rc::Rc;

use super::core::Core;
use super::messages::Enrol;
use crate::conversation::reads::rows;
use crate::conversation::reads::serve::readable;
use crate::rpc::{self, Refused};

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
    let (shared, shard) = (core.shared.clone(), core.shard);
    core.shared.reads.runtime().spawn(async move {
        let answer = match readable(&shared, shard).await {
            Ok(state) => {
                let read = move || rows::registered(&state.view(), &wants);
                shared.reads.run(read).await.and_then(|answer| answer)
            }
            Err(refused) => Err(refused),
        };
        reply.send(
            answer
                .map(|answer| rpc::encode(&answer))
                .map_err(|refused| rpc::encode(&refused)),
        );
    });
}
