//! `[login]`: one-time codes, access tokens and refresh tokens.

use super::load::Problems;
use super::section::section;
use super::units::{Millis, SecretString};

section! {
    /// Login by a one-time code sent to a phone number or mail address. Enabled by webhook_url, or by auth.dev_tokens,
    /// which also writes codes to the log and the answer. Use the same values on every node.
    pub struct LoginConfig {
        /// URL of the service that delivers codes: https://host/path, or http://host:port/path on this machine or in a
        /// private network. It receives a signed POST with type, to, channel (sms or mail), code and expires_in.
        webhook_url: String = String::new(),
        /// PEM file with certificates of authorities to trust for it, in addition to those of the system.
        webhook_ca_file: String = String::new(),
        /// Key for signing the requests: base64 of 24 to 64 bytes, for example from `openssl rand -base64 32`.
        webhook_secret: SecretString = SecretString::default(),
        /// Timeout of one attempt to deliver a code.
        webhook_timeout_ms: Millis = Millis(5_000),
        /// Number of attempts to deliver a code, including the first.
        webhook_attempts: u32 = 3,
        /// Maximum number of concurrent deliveries. Further requests are refused as busy.
        webhook_posts: usize = 64,
        /// Lifetime of a code.
        code_ms: Millis = Millis(300_000),
        /// Number of wrong attempts after which a code is invalid.
        code_tries: u32 = 5,
        /// Maximum number of codes sent to one phone number or mail address within window_ms, over all nodes.
        codes_per_address: u32 = 5,
        /// Maximum number of codes requested by one IP address (IPv6: one /64) within window_ms, over all nodes.
        codes_per_ip: u32 = 20,
        /// Time window of these two limits.
        window_ms: Millis = Millis(3_600_000),
        /// Login requests of all kinds per second and IP address on this node: the sustained rate ...
        requests_per_s: u32 = 5,
        /// ... and the burst.
        requests_burst: u32 = 30,
        /// Value of the `iss` claim in the cluster's own tokens.
        issuer: String = "rookery".to_owned(),
        /// Lifetime of an access token. A logout revokes it on all nodes that run and are reachable. On other nodes, a
        /// stolen token remains valid until its lifetime ends.
        access_ms: Millis = Millis(900_000),
        /// Revoked logins that a node remembers to refuse their access tokens. Beyond that, the oldest is evicted.
        ended: usize = 100_000,
        /// Lifetime of a refresh token, and of a login that is not used.
        refresh_ms: Millis = Millis(30 * 86_400_000),
        /// Time for which a replaced refresh token is still accepted, for a client that lost the answer. 0 disables it.
        refresh_grace_ms: Millis = Millis(30_000),
        /// Time for which one key signs tokens before the next one replaces it.
        key_period_ms: Millis = Millis(30 * 86_400_000),
        /// Time for which a key is published before it signs.
        key_overlap_ms: Millis = Millis(3_600_000),
        /// Interval at which a node checks for new keys.
        key_poll_ms: Millis = Millis(60_000),
    }
}

// === impl LoginConfig ===

impl LoginConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.webhook_url.is_empty() {
            if !self.webhook_secret.is_empty() {
                problems.add(
                    "login.webhook_url",
                    "must be set when login.webhook_secret is set",
                );
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
        // A refresh token has to outlive the access token that it replaces.
        problems.at_least("login.refresh_ms", self.refresh_ms.0, self.access_ms.0);
        problems.at_least("login.key_poll_ms", self.key_poll_ms.0, 100);
        // A node that misses one or two polls still receives a key before the first token signed by it.
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
