//! An owner that stands still for longer than its lease, and is cut off meanwhile: whatever it believes then, it
//! must not answer from before what others have acknowledged meanwhile.

use std::cell::Cell;
use std::time::Duration;

use super::{Deed, Done, Trouble, bitten, skipped};
use crate::fault::How;
use crate::links::Effect;
use crate::local::Hit;
use crate::reads::Reader;

/// Longer than a lease, and than the others take to elect somebody else.
const PAUSE: Duration = Duration::from_millis(1100);
/// What is on its way when the node stops arrives in this time, and no election has begun yet.
const IN_FLIGHT: Duration = Duration::from_millis(50);
/// Each asks the next question when it has the answer to the one before.
const READERS: usize = 4;

// === impl Deed: pauses ===

impl Deed<'_> {
    /// Stops the node, cuts its links, wakes it, and heals them after the hold. It is read from all the time.
    pub(super) async fn pause_cut(&self) -> Done {
        let [node] = *self.nodes else {
            return Err(Trouble::Skipped("is done to one node".to_owned()));
        };
        let answered = Cell::new(0);
        let readers: Vec<Reader> = self.readers(node);
        let reading = readers.iter().map(|reader| reader.run(self.common, &answered));
        let reading = futures::future::join_all(reading);
        tokio::select! {
            done = self.pause_and_cut(node, &answered) => done,
            never = reading => Err(Trouble::Indeterminate(format!("{} readers ended", never.len()))),
        }
    }

    fn readers(&self, node: u64) -> Vec<Reader> {
        let Some(at) = self.local.node(node) else {
            return Vec::new();
        };
        let conv = self.conv();
        let reader = |number| Reader {
            node: at.http.clone(),
            conversation: self.conversation.to_owned(),
            conv,
            member: self.creator,
            device: format!("pause-{}-{number}", self.number),
            pause: Duration::from_millis(2),
        };
        (0..READERS).map(reader).collect()
    }

    async fn pause_and_cut(&self, node: u64, answered: &Cell<u64>) -> Done {
        let (local, links) = (self.local, self.wires()?);
        let ways = How::Cut.ways(false, self.nodes, &self.all());
        // Readers that are there already: one that connects to a node that stands still only waits.
        self.until(async |_: &Self| (answered.get() > 0).then_some(()))
            .await
            .ok_or_else(|| Trouble::Indeterminate(format!("node {node} answered no read")))?;
        local.hit(node, Hit::Stop).map_err(skipped)?;
        // What the others confirmed before it stopped is in its sockets when it wakes, and what they agree on without it
        // isn't: the nastiest mixture.
        tokio::time::sleep(IN_FLIGHT).await;
        let on = links.install(ways, Effect::Cut);
        tokio::time::sleep(PAUSE - IN_FLIGHT).await;
        let stood = local.is_stopped(node);
        let before = answered.get();
        local.hit(node, Hit::Continue)?;
        self.hold().await;
        let (touched, read) = (on.touched(), answered.get() - before);
        drop(on);
        self.all_ready().await?;
        bitten(
            stood && touched > 0,
            &format!(
                "it stood still for {PAUSE:?}, the proxy then met its links {touched} times, and it answered {read} reads meanwhile"
            ),
        )
    }
}
