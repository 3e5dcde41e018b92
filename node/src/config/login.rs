//! `[login]`: one-time codes, and the tokens that a login gives.

use super::load::Problems;
use super::section::section;
use super::units::{Millis, Secret};

section! {
    /// Login by a one-time code that is sent to a phone number or a mail address. It is possible when webhook_url is
    /// set, and with auth.dev_tokens, where codes are also logged and answered. The same on every node.
    pub struct Login {
        /// What delivers the codes: https://host/path, or http://host:port/path on this machine or a private network.
        /// Gets a signed POST with type, to, channel (sms or mail), code and expires_in.
        webhook_url: String = String::new(),
        /// A file of certificates (PEM) of authorities that are trusted for it beside the system's.
        webhook_ca_file: String = String::new(),
        /// The key that posts are signed with, base64 of 24 to 64 bytes: `openssl rand -base64 32`.
        webhook_secret: Secret = Secret::default(),
        /// How long one attempt to deliver may take.
        webhook_timeout_ms: Millis = Millis(5_000),
        /// Attempts to deliver, the first included.
        webhook_attempts: u32 = 3,
        /// Deliveries under way at the same time; more are answered busy.
        webhook_posts: usize = 64,
        /// How long a code can be used.
        code_ms: Millis = Millis(300_000),
        /// Wrong tries after which a code is void.
        code_tries: u32 = 5,
        /// Codes that one address is sent within window_ms, over all nodes.
        codes_per_address: u32 = 5,
        /// Codes that are asked for from one IP address (IPv6: one /64) within window_ms, over all nodes.
        codes_per_ip: u32 = 20,
        /// The time in which codes are counted.
        window_ms: Millis = Millis(3_600_000),
        /// Login requests of one IP address to this node per second, of all sorts ...
        requests_per_s: u32 = 5,
        /// ... and at once.
        requests_burst: u32 = 30,
        /// What `iss` of the cluster's own tokens is.
        issuer: String = "rookery".to_owned(),
        /// How long an access token is valid. A logout makes it invalid on all nodes that run and can be reached; on
        /// others, this is how long a stolen token can still be used.
        access_ms: Millis = Millis(900_000),
        /// Ended logins whose access tokens a node refuses; of more, the one that ended first is forgotten.
        ended: usize = 100_000,
        /// How long a refresh token is valid, and with it a login that nobody uses.
        refresh_ms: Millis = Millis(30 * 86_400_000),
        /// How long a refresh token that was just replaced is still accepted, for a client that never got the answer. 0: not.
        refresh_grace_ms: Millis = Millis(30_000),
        /// How long a key signs before the next one does.
        key_period_ms: Millis = Millis(30 * 86_400_000),
        /// How long a key is published before it signs.
        key_overlap_ms: Millis = Millis(3_600_000),
        /// How often a node looks for new keys.
        key_poll_ms: Millis = Millis(60_000),
    }
}

// === impl Login ===

impl Login {
    /// Reports every value that cannot work.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.webhook_url.is_empty() {
            if !self.webhook_secret.is_empty() {
                problems.add("login.webhook_url", "must be set where webhook_secret is");
            }
        } else {
            problems.webhook("login.webhook_", &self.webhook_url, &self.webhook_secret);
        }
        problems.at_least("login.webhook_timeout_ms", self.webhook_timeout_ms.0, 100);
        problems.at_least("login.webhook_attempts", u64::from(self.webhook_attempts), 1);
        problems.at_least("login.webhook_posts", self.webhook_posts as u64, 1);
        problems.at_least("login.code_ms", self.code_ms.0, 1_000);
        problems.at_least("login.window_ms", self.window_ms.0, 1_000);
        problems.at_least("login.requests_per_s", u64::from(self.requests_per_s), 1);
        problems.at_least("login.requests_burst", u64::from(self.requests_burst), 1);
        problems.at_least("login.access_ms", self.access_ms.0, 1_000);
        problems.at_least("login.ended", self.ended as u64, 1);
        problems.at_least("login.refresh_ms", self.refresh_ms.0, self.access_ms.0);
        problems.at_least("login.key_poll_ms", self.key_poll_ms.0, 100);
        // A node that missed a poll or two still knows a key before a token of it comes.
        let overlap = self.key_poll_ms.0.saturating_mul(3);
        problems.at_least("login.key_overlap_ms", self.key_overlap_ms.0, overlap);
        let period = self.key_overlap_ms.0.saturating_mul(2);
        problems.at_least("login.key_period_ms", self.key_period_ms.0, period);
        for (key, value, most) in [
            ("login.code_tries", self.code_tries, 10),
            ("login.codes_per_address", self.codes_per_address, 1_000),
            ("login.codes_per_ip", self.codes_per_ip, 1_000),
        ] {
            if !(1..=most).contains(&value) {
                problems.add(key, &format!("must be between 1 and {most}"));
            }
        }
        if self.issuer.is_empty() {
            problems.add("login.issuer", "must not be empty");
        }
    }
}
