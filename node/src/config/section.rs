//! Declaration of config sections: fields, defaults and the text of the example file from the same lines.

use super::{
    AuthConfig, CableConfig, ChatConfig, ClusterConfig, LimitsConfig, LoginConfig, MqttConfig,
    PresenceConfig, RetentionConfig, ServerConfig, SessionConfig, SocketIoConfig, StorageConfig,
    TelemetryConfig, WebhookConfig,
};

/// Keys of a section with their descriptions, line by line.
pub type SectionKeys = &'static [(&'static str, &'static [&'static str])];

/// Sections with their keys, in the order of the example file.
pub const SECTIONS: [(&str, SectionKeys); 15] = [
    ("server", ServerConfig::KEYS),
    ("auth", AuthConfig::KEYS),
    ("login", LoginConfig::KEYS),
    ("limits", LimitsConfig::KEYS),
    ("session", SessionConfig::KEYS),
    ("chat", ChatConfig::KEYS),
    ("presence", PresenceConfig::KEYS),
    ("retention", RetentionConfig::KEYS),
    ("webhook", WebhookConfig::KEYS),
    ("cable", CableConfig::KEYS),
    ("socketio", SocketIoConfig::KEYS),
    ("mqtt", MqttConfig::KEYS),
    ("cluster", ClusterConfig::KEYS),
    ("storage", StorageConfig::KEYS),
    ("telemetry", TelemetryConfig::KEYS),
];

/// Table of the configuration file.
pub trait ConfigSection: serde::Serialize + serde::de::DeserializeOwned + Default {
    /// Description of the section, line by line.
    const ABOUT: &'static [&'static str];
    /// Every key with its description, line by line, in the order of the example file.
    const KEYS: SectionKeys;
}

/// Declares a section: `name: Type = default` per key, each with a doc comment that also becomes the comment of
/// `config/node.example.toml`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $section:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $section {
            $( $(#[doc = $doc])+ pub $key: $type, )+
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $( $key: $default, )+ }
            }
        }

        impl $crate::config::section::ConfigSection for $section {
            const ABOUT: &'static [&'static str] = &[$( $about, )+];
            const KEYS: $crate::config::section::SectionKeys =
                &[$( (stringify!($key), &[$( $doc, )+]), )+];
        }
    };
}

pub(crate) use section;
