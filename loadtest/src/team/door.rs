//! The coordinator's door: lets in the workers that say the right words.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::Error;
use super::link;
use super::message::{Hello, Order, VERSION};
use crate::cli::TeamArgs;

/// How long a newcomer may take to say who it is.
const HELLO: Duration = Duration::from_secs(5);

/// Waits for so many workers that say the right words. One that doesn't is told why not, and left.
pub(super) async fn gather(
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
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, peer) = accepted.map_err(failed)?;
                    let (sender, secret) = (sender.clone(), secret.clone());
                    tokio::task::spawn_local(async move {
                        if let Some(stream) = greet(stream, &secret).await {
                            let _ = sender.send((stream, peer.to_string())).await;
                        }
                    });
                }
                Some((stream, peer)) = came.recv() => {
                    streams.push((stream, peer));
                    eprintln!("worker {} of {wanted} is here", streams.len());
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
    let hello = tokio::time::timeout(HELLO, link::read::<Hello>(&mut stream, link::FIRST)).await;
    let hello = hello.ok()?.ok()?;
    let why = if hello.version != VERSION {
        format!("this is {VERSION}, that is {}", hello.version)
    } else if hello.secret != secret {
        "the secret is another one".to_owned()
    } else {
        return Some(stream);
    };
    let _ = link::write(&mut stream, &Order::Abort { why }).await;
    None
}
