//! `[webhook]`: notification of a push service about messages for users without a live session.

use super::load::Problems;
use super::section::section;
use super::units::SecretString;

section! {
    /// Webhook that is notified of messages for users without a live session, for example to send push notifications.
    /// It is also notified of every message in conversations that have a webhook. Use the same values on every node.
    pub struct WebhookConfig {
        /// URL of the receiver: https://host/path, or http://host:port/path on this machine or in a private network.
        /// Empty: no notifications are sent.
        url: String = String::new(),
        /// PEM file with certificates of authorities to trust for the receiver, in addition to those of the system.
        ca_file: String = String::new(),
        /// Key for signing the requests (Standard Webhooks): base64, with or without the prefix whsec_.
        secret: SecretString = SecretString::default(),
        /// Maximum number of queued messages per shard while the receiver is down. Beyond that, the oldest are dropped.
        backlog: u64 = 10_000,
    }
}

// === impl WebhookConfig ===

impl WebhookConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        if !self.url.is_empty() {
            problems.webhook("webhook.", &self.url, &self.secret);
        }
        problems.at_least("webhook.backlog", self.backlog, 1);
    }
}
