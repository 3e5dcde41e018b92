//! Has the log forget what is over: one task per owned shard. It looks locally, so a shard without logins costs nothing.

use std::rc::Rc;
use std::time::Duration;

use tracing::debug;

use super::name;
use crate::conversation::Conversations;
use crate::conversation::shard::core::Core;
use crate::conversation::timeline::{Command, Login, read};

/// Sweeps until the shard's actors end.
pub(crate) async fn run(core: Rc<Core>) {
    let conversations = Conversations::new(core.shared.clone());
    let pause = core.shared.settings.login_sweep;
    loop {
        // At random, so that the shards of a node that came back don't sweep together.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        while is_over(&core).await {
            let sweep = Command::login(name("sweep"), None, Login::Sweep);
            match conversations.submit_to(Some(core.shard), sweep).await {
                Ok(done) if done.mn > 0 => {}
                Ok(_) => break,
                Err(refusal) => {
                    debug!(shard = core.shard.0, %refusal, "rows of logins not swept, trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn is_over(core: &Rc<Core>) -> bool {
    let Some(cluster) = core.shared.cluster() else {
        return false;
    };
    let Some(reached_ms) = core.shared.settings.clock.reached_ms() else {
        return false;
    };
    let state = cluster.state(core.shard);
    let found = core.shared.reads.run(move || read::is_over(&state, reached_ms));
    matches!(found.await, Ok(Ok(true)))
}
