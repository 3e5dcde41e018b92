//! Begin of a connection: a new session, or the continued one of the client's device.

use bytes::BytesMut;
use serde::Deserialize;

use super::{ConnectionPhase, MqttTranslator};
use crate::gateway::mqtt::event_window::EventWindow;
use crate::gateway::mqtt::filter_table::FilterTable;
use crate::gateway::mqtt::saved_state::SavedState;

/// Fields of the native `ready`.
#[derive(Deserialize)]
struct OpenedReady {
    resumed: bool,
    n: u64,
    why: Option<String>,
}

// === impl MqttTranslator: begin ===

impl MqttTranslator {
    /// Continues the subscriptions of another session, before its `ready`. Events may be selected by them before that.
    /// `is_rebuilt`: that session was lost, and the numbers of its events with it.
    pub(in crate::gateway::mqtt) fn restore(&mut self, state: &[u8], is_rebuilt: bool) {
        if !self.is_opening() || state.is_empty() || self.saved.is_some() {
            return;
        }
        let saved = SavedState::decode(state);
        let saved = if is_rebuilt {
            saved.without_numbers()
        } else {
            saved
        };
        if !saved.is_over() {
            saved.restore(&mut self.filters);
        }
        self.saved = Some(saved);
    }

    pub(super) fn on_ready(&mut self, body: &[u8], out: &mut BytesMut) {
        let Ok(ready) = serde_json::from_slice::<OpenedReady>(body) else {
            return;
        };
        let saved = self
            .saved
            .take()
            .filter(|saved| ready.resumed && !saved.is_over());
        self.accepted.is_session_present = saved.is_some() && !self.is_clean;
        match saved.filter(|_| self.accepted.is_session_present) {
            Some(saved) => self.repeated_up_to = saved.sent(),
            None => {
                // The client has no subscription. A session that it has ended may still have events for some.
                self.filters = FilterTable::new(self.filter_limit);
                if !self.is_clean {
                    self.owed_resync = Some(ready.why.unwrap_or_else(|| "unknown".to_owned()));
                }
            }
        }
        self.window = EventWindow::new(self.receive_maximum, ready.n);
        self.saved_up_to = self.repeated_up_to;
        self.is_changed = true;
        self.phase = ConnectionPhase::Connected;
        self.packets.connack(out, &self.accepted);
    }
}
