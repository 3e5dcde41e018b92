//! A node registers: its interest is added first, then the log is read, so no event falls between the two. What is
//! applied after the read is delivered, what was delivered before it is recognised by its number.

use std::rc::Rc;

use super::core::Core;
use super::messages::Enrol;
use crate::conversation::reads::rows;
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
    let Some(state) = core.shared.cluster().map(|cluster| cluster.state(core.shard)) else {
        return reply.send(Err(rpc::encode(&core.shared.not_owner(core.shard))));
    };
    let pool = core.shared.reads.clone();
    core.shared.reads.runtime().spawn(async move {
        let answer = pool.run(move || rows::registered(&state.view(), &wants)).await;
        let answer = answer.and_then(|answer| answer);
        reply.send(
            answer
                .map(|answer| rpc::encode(&answer))
                .map_err(|refused| rpc::encode(&refused)),
        );
    });
}
