//! When the process is asked to stop.

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves at SIGTERM or Ctrl-C.
pub async fn requested() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            // Without the handler the signal ends the process by itself.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => tracing::info!("asked to stop"),
        interrupted = tokio::signal::ctrl_c() => match interrupted {
            Ok(()) => tracing::info!("asked to stop"),
            Err(_) => std::future::pending().await,
        },
    }
}

/// Resolves when standard input ends, which is how a child learns that its parent is gone or wants it to stop.
pub async fn parent_gone() {
    let mut input = tokio::io::stdin();
    let mut nothing = [0; 64];
    while matches!(input.read(&mut nothing).await, Ok(1..)) {}
    tracing::info!("asked to stop by the parent process");
}

/// Waits for an orderly stop; a second request ends the process at once.
pub async fn or_again(stop: impl Future<Output = ()>) {
    tokio::select! {
        () = stop => {}
        () = requested() => {
            tracing::warn!("asked to stop again: not waiting any longer");
            std::process::exit(1);
        }
    }
}
