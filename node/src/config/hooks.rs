//! `[hooks]`: notification of a push service about messages for users without a live session.

use cluster::ClusterClock;

use super::load::Problems;
use super::section::section;
use super::units::{Millis, SecretString};
use crate::user::WebhookTarget;
use crate::webhook::{self, Webhook};

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
        secret: SecretString = SecretString(String::new()),
        /// Timeout of one attempt.
        timeout_ms: Millis = Millis(5_000),
        /// Number of attempts in a row before the pause of retry_ms.
        attempts: u32 = 3,
        /// Maximum number of concurrent requests.
        concurrent: usize = 64,
        /// Pause before further attempts after the receiver failed. It doubles each time, up to 64 times this value.
        retry_ms: Millis = Millis(1_000),
        /// In conversations with more members than this, absent users are not reported.
        members: u64 = 256,
        /// Maximum number of queued messages per shard while the receiver is down. Beyond that, the oldest are dropped.
        backlog: u64 = 10_000,
    }
}

// === impl WebhookConfig ===

impl WebhookConfig {
    /// Adds every invalid value to `problems`.
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

    /// Builds the webhook target, or returns `None` without a URL.
    ///
    /// # Errors
    /// An invalid URL, key or certificate file.
    pub fn hook(
        &self,
        metrics: webhook::Metrics,
        clock: ClusterClock,
    ) -> Result<Option<WebhookTarget>, webhook::UnusableSecret> {
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
        Ok(Some(WebhookTarget {
            webhook: Webhook::open(settings, metrics)?,
            members: self.members,
            backlog: self.backlog,
            retry: self.retry_ms.duration(),
        }))
    }
}
