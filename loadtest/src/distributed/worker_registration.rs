//! Registration of workers at the coordinator, with a check of version and secret.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::message::{CoordinatorMessage, VERSION, WorkerHello};
use super::{Error, message_stream};
use crate::args::TeamArgs;

/// Timeout of a worker's first frame.
const HELLO: Duration = Duration::from_secs(5);

/// Waits until the wanted number of workers has registered. A worker with another version or secret is refused with the
/// reason.
pub(crate) async fn gather(
    args: &TeamArgs,
    patience: Duration,
) -> Result<(Vec<(TcpStream, String)>, TcpListener), Error> {
    let address = args.coordinator.clone().unwrap_or_default();
    let failed = |error| Error::Listen(address.clone(), error);
    let listener = TcpListener::bind(&address).await.map_err(failed)?;
    let wanted = args.workers.unwrap_or(1) as usize;
    let own = listener.local_addr().map_err(failed)?;
    eprintln!("waiting for {} workers on {own}", wanted);
    let (sender, mut came) = mpsc::channel(16);
    let mut streams = Vec::new();
    let secret = args.secret.clone().unwrap_or_default();
    let all = async {
        while streams.len() < wanted {
            // Both branches are safe to cancel: an unaccepted connection stays in the backlog.
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, peer) = accepted.map_err(failed)?;
                    let (sender, secret) = (sender.clone(), secret.clone());
                    // A task each: a connection that sends nothing must not block the others.
                    tokio::task::spawn_local(async move {
                        if let Some(stream) = greet(stream, &secret).await {
                            let _ = sender.send((stream, peer.to_string())).await;
                        }
                    });
                }
                Some((stream, peer)) = came.recv() => {
                    streams.push((stream, peer));
                    eprintln!("worker {} of {wanted} registered", streams.len());
                }
            }
        }
        Ok(())
    };
    let done = tokio::time::timeout(patience, all).await;
    match done {
        Ok(done) => done.map(|()| (streams, listener)),
        Err(_) => Err(Error::Few {
            came: streams.len(),
            wanted,
            waited: patience,
        }),
    }
}

async fn greet(mut stream: TcpStream, secret: &str) -> Option<TcpStream> {
    let _ = stream.set_nodelay(true);
    let hello = tokio::time::timeout(
        HELLO,
        message_stream::read::<WorkerHello>(&mut stream, message_stream::FIRST),
    )
    .await;
    let hello = hello.ok()?.ok()?;
    let why = if hello.version != VERSION {
        format!(
            "the coordinator has version {VERSION}, the worker {}",
            hello.version
        )
    } else if hello.secret != secret {
        "the secrets differ".to_owned()
    } else {
        return Some(stream);
    };
    let _ = message_stream::write(&mut stream, &CoordinatorMessage::Abort { why }).await;
    None
}
