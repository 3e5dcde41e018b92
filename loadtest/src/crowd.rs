//! Who makes the load of a run: clients in this process, workers that have them, or clients of a broker.

use std::time::Duration;

use crate::client::Common;
use crate::clock::Nanos;
use crate::crew::Crew;
use crate::measure::nodes::Usage;
use crate::mqtt::Fleet;
use crate::pacing::Pace;
use crate::report::HarnessReport;
use crate::run::Error;
use crate::scenario::Setup;
use crate::team::Team;

/// All clients of a run, wherever they are.
pub(crate) enum Crowd {
    Here(Crew),
    Team(Team),
    Mqtt(Fleet),
}

// === impl Crowd ===

impl Crowd {
    /// The first conversation's name.
    pub(crate) fn first(&self) -> &str {
        match self {
            Crowd::Here(crew) => crew.first(),
            Crowd::Team(team) => team.first(),
            Crowd::Mqtt(_) => "",
        }
    }

    /// The clients take up their habits; those of workers do so by themselves when the load begins.
    pub(crate) fn behave(&self) {
        if let Crowd::Here(crew) = self {
            crew.behave();
        }
    }

    /// Everybody is there, and reads.
    pub(crate) fn calm(&self) {
        if let Crowd::Here(crew) = self {
            crew.calm();
        }
    }

    /// The load begins; returns when.
    pub(crate) async fn begin(&self, setup: &Setup) -> Nanos {
        let pace = &setup.pace;
        match self {
            Crowd::Here(crew) => crew.begin(pace, !setup.has_parts()),
            Crowd::Team(team) => team.begin(setup.first_part()).await,
            Crowd::Mqtt(fleet) => fleet.begin(pace),
        }
    }

    /// Has everybody speak until every conversation is seen to be alive, after the faults have healed.
    pub(crate) async fn everywhere(&self, common: &Common, patience: Duration) -> Result<(), Error> {
        {
            let world = &mut *common.world.borrow_mut();
            let now = world.clock.now();
            world.recorder.phase("liveness", now);
        }
        match self {
            Crowd::Here(crew) => crew.everywhere(patience).await,
            Crowd::Team(team) => team.everywhere(patience).await?,
            Crowd::Mqtt(_) => {} // nobody breaks it
        }
        Ok(())
    }

    /// Nothing more is sent.
    pub(crate) async fn silence(&self) {
        match self {
            Crowd::Here(crew) => crew.pace(&Pace::Silent),
            Crowd::Team(team) => team.silence().await,
            Crowd::Mqtt(fleet) => fleet.pace(&Pace::Silent),
        }
    }

    /// Waits until every message is answered and every member has everything.
    pub(crate) async fn settle(&self, patience: Duration) -> Result<(), Error> {
        match self {
            Crowd::Here(crew) => crew.settle(patience).await,
            Crowd::Team(team) => team.settle(patience).await?,
            Crowd::Mqtt(fleet) => fleet.settle(patience).await,
        }
        Ok(())
    }

    /// Every member reads the whole inbox, and the oracle counts the unread again.
    pub(crate) async fn inboxes(&self, patience: Duration) -> Result<(), Error> {
        match self {
            Crowd::Here(crew) => crew.inboxes(patience).await,
            Crowd::Team(team) => team.inboxes(patience).await?,
            Crowd::Mqtt(_) => {} // a broker has none
        }
        Ok(())
    }

    /// Reads every conversation again from its beginning and compares it with what the clients saw.
    pub(crate) async fn reread(&self, patience: Duration) -> Result<(), Error> {
        match self {
            Crowd::Here(crew) => crew.reread(patience).await,
            Crowd::Team(team) => team.reread(patience).await?,
            Crowd::Mqtt(_) => {} // a broker keeps no log to read
        }
        Ok(())
    }

    /// Judges what is missing, and hands over what the harness used. `used` is what this process did.
    pub(crate) async fn finish(&self, used: Usage, rss_before_kib: u64) -> Result<HarnessReport, Error> {
        match self {
            Crowd::Here(crew) => {
                crew.finish();
                Ok(HarnessReport::new(used, rss_before_kib, crew.own() as u64))
            }
            Crowd::Team(team) => Ok(team.finish().await?),
            Crowd::Mqtt(fleet) => {
                fleet.finish().await;
                Ok(HarnessReport::new(used, rss_before_kib, fleet.own() as u64))
            }
        }
    }

    /// The verdict is in.
    pub(crate) async fn verdict(&self, kept: bool) {
        if let Crowd::Team(team) = self {
            team.verdict(kept).await;
        }
    }

    /// Waits for somebody to be lost without whom the run makes no sense.
    pub(crate) async fn failed(&self) -> Error {
        match self {
            Crowd::Here(_) | Crowd::Mqtt(_) => std::future::pending().await,
            Crowd::Team(team) => team.failed().await.into(),
        }
    }
}
