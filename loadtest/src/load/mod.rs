//! Load of a run: simulated clients, MQTT clients, and the planned events beside them.

mod client;
mod client_pool;
mod connector;
mod hostile;
mod many_conversations;
mod mqtt;
mod schedule;
mod shared_run;

pub(crate) use self::client::HarnessCommand;
pub(crate) use self::client_pool::{ClientPool, Error};
pub(crate) use self::connector::{Connector, permit_many_files, permitted};
pub(crate) use self::many_conversations::{fill, measure};
pub(crate) use self::mqtt::{Error as MqttError, MqttPool};
pub(crate) use self::schedule::{later_parts, lister, run_schedule};
pub(crate) use self::shared_run::SharedRun;
