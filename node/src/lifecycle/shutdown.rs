//! Shutdown triggers: signals and the end of the parent process.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at SIGTERM or Ctrl-C.
pub async fn requested() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            // Without a handler, the signal terminates the process directly.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminate => tracing::info!("shutdown signal received"),
        interrupted = tokio::signal::ctrl_c() => match interrupted {
            Ok(()) => tracing::info!("shutdown signal received"),
            Err(_) => std::future::pending().await,
        },
    }
}

/// Keeps SIGHUP from ending the process: it is the request to read certificates again, also to a node that has none.
pub fn outlive_reload() {
    if let Err(error) = signal(SignalKind::hangup()) {
        tracing::warn!(%error, "SIGHUP cannot be received, and ends this process");
    }
}

/// Resolves when standard input ends: a parent process closes it to stop its child, or the system does after the
/// parent's death.
pub async fn parent_gone() {
    let (gone, ended) = tokio::sync::oneshot::channel();
    // A separate thread: a runtime waits for its blocking tasks at shutdown, and this read may never return.
    let reader = std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(move || {
            let mut nothing = [0; 64];
            // Input is discarded; only its end matters.
            while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
            // The receiver is dropped if the node stops for another reason.
            let _unheard = gone.send(());
        });
    if let Err(error) = reader {
        tracing::warn!(%error, "cannot monitor the parent process; its end will not stop this node");
        return std::future::pending().await;
    }
    let _ended = ended.await;
    tracing::info!("parent process ended, shutting down");
}

/// Waits for a shutdown signal, or with `with_parent` for the end of the parent process as well.
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

/// Waits for an orderly stop. A second signal exits the process at once.
pub async fn or_again(stop: impl Future<Output = ()>) {
    tokio::select! {
        () = stop => {}
        () = requested() => {
            tracing::warn!("second shutdown signal received, exiting immediately");
            std::process::exit(1);
        }
    }
}
