//! Settings as operators may pass them on: without secrets.

use super::Config;
use super::receiver::webhook_url;

// === impl Config: disclosed ===

impl Config {
    /// Returns the settings as TOML, for reports that leave the cluster. Secrets are `***`, and so is everything behind the
    /// host of a webhook, which may hold another one.
    #[must_use]
    pub fn disclosed(&self) -> String {
        let mut config = self.clone();
        for url in [&mut config.webhook.url, &mut config.login.webhook_url] {
            if !url.is_empty() {
                *url = receiver_alone(url);
            }
        }
        // TOML has no numbers beyond 2^63, and a report must not fail for one.
        toml::to_string(&config).unwrap_or_else(|error| format!("# cannot be written: {error}\n"))
    }
}

/// Returns the address of a receiver without its path, query and user.
fn receiver_alone(url: &str) -> String {
    let Ok(uri) = webhook_url(url) else {
        return "***".to_owned();
    };
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}/***"),
        None => format!("{scheme}://{host}/***"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::SecretString;
    use super::*;

    #[test]
    fn settings_are_disclosed_without_their_secrets() {
        const CANARY: &str = "canary";
        let mut config = Config::default();
        let secret = || SecretString(format!("{CANARY}-of-a-setting"));
        config.server.admin_token = secret();
        config.auth.secret = secret();
        config.login.webhook_secret = secret();
        config.webhook.secret = secret();
        config.cluster.secret = secret();
        config.webhook.url = format!("https://{CANARY}:x@hooks.example.org:8443/{CANARY}?key={CANARY}");
        config.login.webhook_url = format!("https://sms.example.org/{CANARY}");
        config.cluster.seeds = vec!["10.0.0.1:9080".to_owned()];
        let text = config.disclosed();
        assert!(!text.contains(CANARY), "{text}");
        for expected in [
            "secret = \"***\"",
            "admin_token = \"***\"",
            "url = \"https://hooks.example.org:8443/***\"",
            "webhook_url = \"https://sms.example.org/***\"",
            "10.0.0.1:9080",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        // One that is not set says so.
        assert!(Config::default().disclosed().contains("admin_token = \"\""));
    }
}
