//! `[login]`: one-time codes, access tokens and refresh tokens.

use super::load::Problems;
use super::section::section;
use super::units::{HumanDuration, SecretString};

section! {
    /// Login by a one-time code sent to a phone number or mail address. Enabled by webhook_url, or by auth.dev_tokens,
    /// which also writes codes to the log and the response. Use the same values on every node.
    pub struct LoginConfig {
        /// URL of the service that delivers codes: https://host/path, or http://host:port/path on this machine or in a
        /// private network. It receives a signed POST with type, to, channel (sms or mail), code and expires_in.
        webhook_url: String = String::new(),
        /// PEM file with certificates of authorities to trust for it, in addition to those of the system.
        webhook_ca_file: String = String::new(),
        /// Key for signing the requests: base64 of 24 to 64 bytes, for example from `openssl rand -base64 32`.
        webhook_secret: SecretString = SecretString::default(),
        /// Maximum number of codes sent to one phone number or mail address per hour, over all nodes.
        codes_per_identifier: u32 = 5,
        /// Maximum number of codes requested by one IP address (IPv6: one /64) per hour, over all nodes.
        codes_per_ip: u32 = 20,
        /// Lifetime of an access token. A logout revokes it on all nodes that run and are reachable. On other nodes, a
        /// stolen token remains valid until its lifetime ends.
        access_token_ttl: HumanDuration = HumanDuration::secs(900),
        /// Lifetime of a refresh token, and of a login that is not used.
        refresh_token_ttl: HumanDuration = HumanDuration::secs(30 * 86_400),
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
        let second = HumanDuration::secs(1);
        problems.at_least("login.access_token_ttl", self.access_token_ttl, second);
        // A refresh token has to outlive the access token that it replaces.
        problems.at_least(
            "login.refresh_token_ttl",
            self.refresh_token_ttl,
            self.access_token_ttl,
        );
        for (key, value) in [
            ("login.codes_per_identifier", self.codes_per_identifier),
            ("login.codes_per_ip", self.codes_per_ip),
        ] {
            if !(1..=1_000).contains(&value) {
                problems.add(key, "must be between 1 and 1000");
            }
        }
    }
}
