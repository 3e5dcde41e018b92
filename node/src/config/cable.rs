//! `[cable]`: the gateway for clients of Rails and AnyCable.

use super::load::Problems;
use super::section::section;

section! {
    /// Gateway for clients of ActionCable (Rails, AnyCable). docs/actioncable.md describes it.
    pub struct CableConfig {
        /// Path of the WebSocket. Empty: no such gateway.
        path: String = "/cable".to_owned(),
        /// Accepts a token in the query of the URL (jid or token), which proxies write to their access logs.
        token_in_url: bool = false,
    }
}

// === impl CableConfig ===

impl CableConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.path("cable.path", &self.path);
    }
}
