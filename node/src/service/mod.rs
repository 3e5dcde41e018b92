//! Chat service of a node: wiring of the components, start and stop, and dispatch of RPCs.

mod chat_service;
mod dispatch;
mod presence_rpc;

pub use chat_service::ChatService;
