//! Durable part of the session of a device, from which its stream is rebuilt after the session is lost.

use bytes::Bytes;
use protocol::ConversationId;
use serde::{Deserialize, Serialize};

use super::rows::VersionedRow;

/// Maximum number of devices per user whose cursors are stored; beyond it those that expire first are removed.
pub(super) const DEVICES: usize = 64;

/// Cursors of a device with the state of its gateway.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash, Serialize, Deserialize)]
pub struct DeviceCursors {
    /// State of the client's gateway, which contains its subscriptions; empty for native transports.
    pub gateway_state: Bytes,
    /// Conversations of the session, each with the position up to which the client has confirmed everything.
    pub positions: Vec<(ConversationId, u64)>,
}

/// Row of a device.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct DeviceCursorsRow {
    pub(super) expires_ms: u64,
    pub(super) cursors: DeviceCursors,
}

impl VersionedRow for DeviceCursorsRow {}
