//! Remembers the panics of this thread's tasks, which tokio swallows.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Remembers from now on.
pub(crate) fn forget() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            SEEN.with_borrow_mut(|seen| seen.push(info.to_string()));
            before(info);
        }));
    });
    SEEN.take();
}

/// What panicked since [`forget`].
pub(crate) fn none() -> Result<(), String> {
    let seen = SEEN.take();
    if seen.is_empty() {
        Ok(())
    } else {
        Err(seen.join("\n"))
    }
}
