//! A runtime in paused time: it advances when every task waits for it.

use std::sync::mpsc;
use std::time::Duration;

/// A run that takes longer than this has a task that never waits, so that simulated time stands still, and with it
/// every deadline in the run. (A run takes about a second.)
const STUCK: Duration = Duration::from_secs(180);

/// Runs `scenario` to its end in one thread. Aborts the process when simulated time stands still, and says where.
pub(crate) fn run<T>(name: &str, scenario: impl AsyncFnOnce() -> T) -> T {
    let (over, watched) = mpsc::channel::<()>();
    let label = name.to_owned();
    std::thread::spawn(move || {
        if watched.recv_timeout(STUCK) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{label}: simulated time stands still: some task never waits");
            std::process::abort();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let result = runtime.block_on(async {
        crate::log::init();
        scenario().await
    });
    drop(runtime);
    drop(over);
    result
}
