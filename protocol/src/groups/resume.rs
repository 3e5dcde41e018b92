//! Session that an `auth` resumes.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// The session that a client resumes or ends: one by its id, or the last one of its device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = command::ResumeTarget)]
pub enum ResumeTarget {
    /// The session with this id, behind the last event that the client has applied.
    Session(ResumeSession),
    /// The last session of the device.
    Device(DeviceResume),
}

/// The session to resume and the last event that the client has applied.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Resume)]
pub struct ResumeSession {
    /// The `sid` from the `ready` of that session.
    #[serde(rename = "sid")]
    pub session_id: String,
    /// The last event number that the client has applied.
    #[serde(rename = "n")]
    pub session_seq: u64,
}

/// Action on the last session of the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = command::DeviceResume)]
pub enum DeviceResume {
    /// Resumes it behind the last event that the client has confirmed.
    Device,
    /// Ends it and begins a new session.
    Clean,
}

/// Visitor that keeps the precise errors of the object, which an untagged enum would lose.
struct ResumeVisitor;

// === impl ResumeTarget, ResumeSession ===

impl<'de> Deserialize<'de> for ResumeTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ResumeTarget, D::Error> {
        deserializer.deserialize_any(ResumeVisitor)
    }
}

impl<'de> Visitor<'de> for ResumeVisitor {
    type Value = ResumeTarget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"an object with sid and n, "device" or "clean""#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ResumeTarget, E> {
        match text {
            "device" => Ok(ResumeTarget::Device(DeviceResume::Device)),
            "clean" => Ok(ResumeTarget::Device(DeviceResume::Clean)),
            _ => Err(E::unknown_variant(text, &["device", "clean"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ResumeTarget, A::Error> {
        ResumeSession::deserialize(MapAccessDeserializer::new(map)).map(ResumeTarget::Session)
    }
}

impl fmt::Debug for ResumeSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeSession")
            .field("session_seq", &self.session_seq)
            .finish_non_exhaustive()
    }
}
