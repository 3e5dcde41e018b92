//! Chat service of a node: wiring of the components, start and stop, and dispatch of RPCs.

pub(crate) mod chat_service;
pub(crate) mod dispatch;
pub(crate) mod presence_rpc;

pub use chat_service::ChatService;
