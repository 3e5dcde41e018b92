//! `rookery schema`: the descriptions of the interface, without a running node.

use clap::{Args, ValueEnum};

use crate::gateway::{asyncapi_description, openapi_description};

/// Arguments of `rookery schema`.
#[derive(Args)]
pub(super) struct Schema {
    /// The description to print.
    kind: SchemaKind,
}

/// Description of the interface.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaKind {
    /// REST, as `GET /v1/openapi.json` returns it.
    Openapi,
    /// The WebSocket, as `GET /v1/asyncapi.json` returns it.
    Asyncapi,
}

// === impl Schema ===

impl Schema {
    pub(super) fn print(&self) {
        let description = match self.kind {
            SchemaKind::Openapi => openapi_description(),
            SchemaKind::Asyncapi => asyncapi_description(),
        };
        // A `Value` prints as JSON; `#` adds line breaks.
        println!("{description:#}");
    }
}
