//! `[hooks]`: whom messages are told for users who are away.

use cluster::Clock;

use super::load::Problems;
use super::section::section;
use super::units::{Millis, Secret};
use crate::user::Hook;
use crate::webhook::{self, Webhook};

section! {
    /// A service that is told of messages for users without a live session, such as one that pushes to telephones, and
    /// of every message of the conversations that ask for it. Set the same on every node.
    pub struct Hooks {
        /// Where it listens: https://host/path, or http://host:port/path on this machine or a private network. Empty:
        /// nobody is told.
        url: String = String::new(),
        /// A file of certificates (PEM) of authorities that are trusted for it beside the system's.
        ca_file: String = String::new(),
        /// The key by which posts are signed, as Standard Webhooks has it: base64, whsec_ in front or not.
        secret: Secret = Secret(String::new()),
        /// How long one attempt may take.
        timeout_ms: Millis = Millis(5_000),
        /// Attempts in a row, before the pause below.
        attempts: u32 = 3,
        /// Posts under way at the same time.
        concurrent: usize = 64,
        /// Pause before a receiver that was down is tried again; it doubles, up to 64 times this.
        retry_ms: Millis = Millis(1_000),
        /// In conversations with more members nobody is told who is away.
        members: u64 = 256,
        /// Messages per shard that wait for the receiver; of more the oldest are given up.
        backlog: u64 = 10_000,
    }
}

// === impl Hooks ===

impl Hooks {
    /// Reports every value that cannot work.
    pub(super) fn check(&self, problems: &mut Problems) {
        if !self.url.is_empty() {
            problems.webhook("hooks.", &self.url, &self.secret);
        }
        problems.at_least("hooks.timeout_ms", self.timeout_ms.0, 10);
        problems.at_least("hooks.attempts", u64::from(self.attempts), 1);
        problems.at_least("hooks.concurrent", self.concurrent as u64, 1);
        problems.at_least("hooks.retry_ms", self.retry_ms.0, 10);
        problems.at_least("hooks.members", self.members, 2);
        problems.at_least("hooks.backlog", self.backlog, 1);
    }

    /// What the conversations are given.
    ///
    /// # Errors
    /// What is wrong with the address, the key or the certificates.
    pub fn hook(&self, metrics: webhook::Metrics, clock: Clock) -> Result<Option<Hook>, webhook::Unusable> {
        if self.url.is_empty() {
            return Ok(None);
        }
        let settings = webhook::Settings {
            name: "messages",
            url: self.url.clone(),
            ca_file: self.ca_file.clone(),
            secret: self.secret.0.clone(),
            timeout: self.timeout_ms.duration(),
            attempts: self.attempts,
            concurrent: self.concurrent,
            clock,
        };
        Ok(Some(Hook {
            webhook: Webhook::open(settings, metrics)?,
            members: self.members,
            backlog: self.backlog,
            retry: self.retry_ms.duration(),
        }))
    }
}
