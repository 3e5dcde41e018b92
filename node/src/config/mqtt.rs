//! `[mqtt]`: the gateway for clients of MQTT 3.1.1 and 5.

use super::load::Problems;
use super::section::section;
use super::units::HumanDuration;

section! {
    /// Gateway for clients of MQTT 3.1.1 and 5. docs/mqtt.md describes it.
    pub struct MqttConfig {
        /// Address of the TCP listener, such as 127.0.0.1:1883; with TLS if the server has a certificate. Empty: no
        /// such listener.
        listen: String = String::new(),
        /// Path of the WebSocket. Empty: no such endpoint.
        path: String = "/mqtt".to_owned(),
        /// Longest session expiry that a client is granted.
        session_expiry_max: HumanDuration = HumanDuration::secs(7 * 24 * 60 * 60),
    }
}

// === impl MqttConfig ===

impl MqttConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.path("mqtt.path", &self.path);
    }
}
