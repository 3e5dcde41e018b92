//! Application on the engine connections of one endpoint.

use std::rc::Rc;
use std::time::Instant;

use super::commands::SocketIoCommands;
use super::connection::SocketIoConnection;
use super::engine_packets::EngineOutput;
use super::engine_reader::EngineInput;
use super::engine_settings::EngineSettings;
use crate::config::Config;
use crate::gateway::websocket::Meter;
use crate::session::{ConnectionHandle, WorkerContext};

/// Application, which has an input and an output for each connection.
pub(super) trait EngineApp: 'static {
    type Input: EngineInput;
    type Output: EngineOutput;

    /// Returns true if nodes of this configuration serve the application.
    fn is_served(_config: &Config) -> bool {
        true
    }

    fn settings(config: &Config) -> EngineSettings;

    /// Returns the inbound limits of one connection.
    fn meter(config: &Config) -> Meter {
        Meter::new(config, Instant::now())
    }

    fn output() -> Rc<Self::Output>;

    fn input(
        worker: &Rc<WorkerContext>,
        link: &Rc<ConnectionHandle>,
        output: Rc<Self::Output>,
        settings: &EngineSettings,
    ) -> Self::Input;
}

/// The chat: each connection has a session.
pub(super) struct ChatApp;

// === impl ChatApp ===

impl EngineApp for ChatApp {
    type Input = SocketIoCommands;
    type Output = SocketIoConnection;

    fn settings(config: &Config) -> EngineSettings {
        EngineSettings::from(config)
    }

    fn output() -> Rc<SocketIoConnection> {
        Rc::default()
    }

    fn input(
        worker: &Rc<WorkerContext>,
        link: &Rc<ConnectionHandle>,
        output: Rc<SocketIoConnection>,
        settings: &EngineSettings,
    ) -> SocketIoCommands {
        SocketIoCommands::open(worker, link, output, settings)
    }
}
