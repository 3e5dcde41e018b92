//! Source of the load: clients in this process, clients of worker processes, or MQTT clients.

use std::time::Duration;

use protocol::ConversationId;

use super::Error;
use crate::clock::Nanos;
use crate::distributed::Coordinator;
use crate::load::{ClientPool, MqttPool, SharedRun};
use crate::measure::Usage;
use crate::pacing::LoadPace;
use crate::report::HarnessReport;
use crate::setup::Setup;

/// All clients of a run, in this or in other processes.
pub(crate) enum LoadSource {
    Here(ClientPool),
    Team(Coordinator),
    Mqtt(MqttPool),
}

// === impl LoadSource ===

impl LoadSource {
    /// Returns the id of the first conversation; `None` for a plan without any, and for MQTT.
    pub(crate) fn first(&self) -> Option<&ConversationId> {
        match self {
            LoadSource::Here(pool) => pool.first(),
            LoadSource::Team(team) => team.first(),
            LoadSource::Mqtt(_) => None,
        }
    }

    /// Starts the behaviors of the clients. Workers start theirs themselves with the load.
    pub(crate) fn behave(&self) {
        if let LoadSource::Here(pool) = self {
            pool.behave();
        }
    }

    /// Ends all behaviors: every client stays connected and reads.
    pub(crate) fn stop_behaviors(&self) {
        if let LoadSource::Here(pool) = self {
            pool.stop_behaviors();
        }
    }

    /// Starts the load and returns its start time.
    pub(crate) async fn begin(&self, setup: &Setup) -> Nanos {
        let pace = &setup.pace;
        match self {
            // With parts, `schedule` marks the phases instead.
            LoadSource::Here(pool) => pool.begin(pace, !setup.has_parts()),
            LoadSource::Team(team) => team.begin(setup.first_part()).await,
            LoadSource::Mqtt(fleet) => fleet.begin(pace),
        }
    }

    /// Sends in every conversation until each has acknowledged a message, after the faults have healed.
    pub(crate) async fn probe_all(&self, common: &SharedRun, patience: Duration) -> Result<(), Error> {
        {
            let context = &mut *common.context.borrow_mut();
            let now = context.clock.now();
            context.recorder.phase("liveness", now);
        }
        match self {
            LoadSource::Here(pool) => pool.probe_all(patience).await,
            LoadSource::Team(team) => team.probe_all(patience).await?,
            LoadSource::Mqtt(_) => {} // nobody breaks it
        }
        Ok(())
    }

    /// Stops the sending of messages.
    pub(crate) async fn stop_sending(&self) {
        match self {
            LoadSource::Here(pool) => pool.pace(&LoadPace::Silent),
            LoadSource::Team(team) => team.stop_sending().await,
            LoadSource::Mqtt(fleet) => fleet.pace(&LoadPace::Silent),
        }
    }

    /// Waits until every message is acknowledged and delivered to every member.
    pub(crate) async fn quiesce(&self, patience: Duration) -> Result<(), Error> {
        match self {
            LoadSource::Here(pool) => pool.quiesce(patience).await,
            LoadSource::Team(team) => team.quiesce(patience).await?,
            LoadSource::Mqtt(fleet) => fleet.quiesce(patience).await,
        }
        Ok(())
    }

    /// Reads every member's whole conversation list, whose unread counts the oracle checks.
    pub(crate) async fn inboxes(&self, patience: Duration) -> Result<(), Error> {
        match self {
            LoadSource::Here(pool) => pool.inboxes(patience).await,
            LoadSource::Team(team) => team.inboxes(patience).await?,
            LoadSource::Mqtt(_) => {} // a broker has none
        }
        Ok(())
    }

    /// Reads every log again from its beginning, and compares it with the events that the clients received.
    pub(crate) async fn reread(&self, patience: Duration) -> Result<(), Error> {
        match self {
            LoadSource::Here(pool) => pool.reread(patience).await,
            LoadSource::Team(team) => team.reread(patience).await?,
            LoadSource::Mqtt(_) => {} // a broker keeps no log to read
        }
        Ok(())
    }

    /// Judges the missing messages, and returns the harness's use of resources. `used` is that of this process.
    pub(crate) async fn finish(&self, used: Usage, rss_before_kib: u64) -> Result<HarnessReport, Error> {
        match self {
            LoadSource::Here(pool) => {
                pool.finish();
                Ok(HarnessReport::new(used, rss_before_kib, pool.own() as u64))
            }
            LoadSource::Team(team) => Ok(team.finish().await?),
            LoadSource::Mqtt(fleet) => {
                fleet.finish().await;
                Ok(HarnessReport::new(used, rss_before_kib, fleet.own() as u64))
            }
        }
    }

    /// Sends the verdict to the workers.
    pub(crate) async fn verdict(&self, passed: bool) {
        if let LoadSource::Team(team) = self {
            team.verdict(passed).await;
        }
    }

    /// Waits for the loss of a worker, which ends the run. Pending forever in other runs.
    pub(crate) async fn failed(&self) -> Error {
        match self {
            // Clients reconnect by themselves, so that only workers can fail.
            LoadSource::Here(_) | LoadSource::Mqtt(_) => std::future::pending().await,
            LoadSource::Team(team) => team.failed().await.into(),
        }
    }
}
