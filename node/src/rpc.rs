//! Requests between nodes.
