//! Addresses of nodes, and the choice of the next one. Pure.

use std::str::FromStr;

/// URL of a node's WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeUrl(String);

/// Nodes in the order in which the person named them, each tried after the one before.
pub(crate) struct NodeRotation {
    nodes: Vec<NodeUrl>,
    at: usize,
}

// === impl NodeUrl ===

impl NodeUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host and port.
    pub(crate) fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        rest.split_once('/').map_or(rest, |(authority, _)| authority)
    }
}

/// Completes an address with the scheme and the path of the WebSocket.
impl FromStr for NodeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<NodeUrl, String> {
        const LIKE: &str = "must be an address like ws://127.0.0.1:8080 or wss://chat.example.org";
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("ws", text));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(scheme, "ws" | "wss") || authority.is_empty() {
            return Err(LIKE.to_owned());
        }
        let path = if path.is_empty() { "v1/ws" } else { path };
        Ok(NodeUrl(format!("{scheme}://{authority}/{path}")))
    }
}

// === impl NodeRotation ===

impl NodeRotation {
    /// Begins at the first of at least one node.
    pub(crate) fn new(nodes: Vec<NodeUrl>) -> NodeRotation {
        NodeRotation { nodes, at: 0 }
    }

    pub(crate) fn current(&self) -> &NodeUrl {
        &self.nodes[self.at]
    }

    /// Moves on to the next node; a single one stays.
    pub(crate) fn advance(&mut self) {
        self.at = (self.at + 1) % self.nodes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> NodeUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_node_is_enough_of_an_address() {
        assert_eq!(url("ws://127.0.0.1:8080").as_str(), "ws://127.0.0.1:8080/v1/ws");
        assert_eq!(url(" 127.0.0.1:8080/").as_str(), "ws://127.0.0.1:8080/v1/ws");
        assert_eq!(
            url("wss://chat.example.org/x/ws").as_str(),
            "wss://chat.example.org/x/ws"
        );
        assert_eq!(url("wss://chat.example.org/x/ws").authority(), "chat.example.org");
        assert_eq!(url("[::1]:8080").authority(), "[::1]:8080");
    }

    #[test]
    fn no_address_of_a_node_is_refused() {
        for text in ["", " ", "http://127.0.0.1:8080", "ws://", "ws:///v1/ws", "/v1/ws"] {
            assert!(text.parse::<NodeUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_node_has_its_turn_and_a_single_one_stays() {
        let mut nodes = NodeRotation::new(vec![url("a:1"), url("b:1"), url("c:1")]);
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(nodes.current().authority().to_owned());
            nodes.advance();
        }
        assert_eq!(turns, ["a:1", "b:1", "c:1", "a:1"]);
        let mut alone = NodeRotation::new(vec![url("a:1")]);
        alone.advance();
        assert_eq!(alone.current().authority(), "a:1");
    }
}
