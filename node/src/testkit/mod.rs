//! Parts of the integration tests: nodes and clusters, clients of every transport, and a capture of the log.
//!
//! | nodes | type | connected by |
//! |---|---|---|
//! | one, in this process | [`Node`] | real sockets |
//! | three, in this process | [`TestCluster`] | real sockets |
//! | three processes of the binary under test | [`ProcessCluster`] | real sockets |
//! | any number, without gateways | [`ServiceCluster`] | the simulated network |
//!
//! The module exists with the feature `testkit` only. It also re-exports the items of other modules that integration
//! tests and benches use, so that every other module stays private.

pub mod cable;
pub mod http;
pub mod session;
mod stream;

mod codec;
mod files;
mod golden;
mod internals;
mod log_capture;
mod mqtt;
mod mqtt_connect;
mod mqtt_packet;
mod node;
mod polling_client;
mod process;
mod process_cluster;
mod receiving_client;
mod recording_subscriber;
mod reserved_addr;
mod sending_client;
mod service_cluster;
mod socket_io_client;
mod terminal_client;
mod test_cluster;
mod test_user;
mod tls;
mod wait;
mod webhook_receiver;
mod websocket;
mod websocket_frame;

pub use codec::Codec;
pub use files::files_with;
pub use golden::golden;
pub use http::{Call, Reply, ask, chunks, exchange, figure, get, group, temporary};
pub use internals::*;
pub use log_capture::LogCapture;
pub use mqtt::{MqttClient, MqttMessage, mqtt_addr};
pub use mqtt_connect::MqttConnect;
pub use mqtt_packet::{MqttPacket, mqtt_packet};
pub use node::{Node, config};
pub use polling_client::PollingClient;
pub use process::{ProcessGuard, program, signal, terminate};
pub use process_cluster::ProcessCluster;
pub use receiving_client::{ReceivingClient, TestTransport};
pub use recording_subscriber::{RecordingSubscriber, cids};
pub use reserved_addr::reserved_addr;
pub use sending_client::SendingClient;
pub use service_cluster::{ServiceCluster, ServiceNode, cid, user};
pub use socket_io_client::SocketIoClient;
pub use stream::Stream;
pub use terminal_client::TerminalClient;
pub use test_cluster::TestCluster;
pub use test_user::{SocketUse, TestUser};
pub use tls::TestCertificates;
pub use wait::{Found, PATIENCE, eventually, eventually_blocking, unix_ms, within};
pub use webhook_receiver::{WEBHOOK_SECRET, WebhookReceiver};
pub use websocket::{ByteStream, Client, Incoming};
pub use websocket_frame::{TEXT, frame, masked};
