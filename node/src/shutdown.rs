//! When the process is asked to stop.

use std::io::Read;

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
    let (gone, told) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime would wait for its blocking read when the node ends for another reason.
    let reader = std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(move || {
            let mut nothing = [0; 64];
            while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
            // Nobody listens when the node ends for another reason.
            let _unheard = gone.send(());
        });
    if let Err(error) = reader {
        tracing::warn!(%error, "the end of the parent process will not be noticed");
        return std::future::pending().await;
    }
    let _told = told.await;
    tracing::info!("asked to stop by the parent process");
}

/// Waits until an orderly stop is asked for, or, `with_parent`, until the parent is gone.
pub async fn over(with_parent: bool) {
    if with_parent {
        tokio::select! {
            () = requested() => {}
            () = parent_gone() => {}
        }
    } else {
        requested().await;
    }
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
