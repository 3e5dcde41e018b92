//! Batcher of a simulated shard owner: the commands queued while one entry is in flight become the next entry.

use bytes::Bytes;
use cluster::{Proposer, Responder};
use tokio::sync::mpsc;

/// Queue of a batcher; dropping it ends the batcher.
pub(crate) type CommandSender = mpsc::UnboundedSender<(Bytes, Responder)>;

/// Starts a batcher.
pub(crate) fn start(proposer: Proposer) -> CommandSender {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(run(proposer, receiver));
    sender
}

async fn run(mut proposer: Proposer, mut queued: mpsc::UnboundedReceiver<(Bytes, Responder)>) {
    while let Some(first) = queued.recv().await {
        let mut batch = vec![first];
        while let Ok(next) = queued.try_recv() {
            batch.push(next);
        }
        let commands: Vec<Bytes> = batch.iter().map(|(command, _)| command.clone()).collect();
        match proposer.propose(&commands).await {
            Ok(result) => {
                for ((_, reply), outcome) in batch.into_iter().zip(result.outcomes) {
                    reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                for (_, reply) in batch {
                    reply.send(Err(Bytes::from(error.to_string())));
                }
            }
        }
    }
}
