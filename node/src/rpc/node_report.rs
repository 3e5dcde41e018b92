//! [`NODE_REPORT`](super::NODE_REPORT) and [`ORDER_DRAIN`](super::ORDER_DRAIN): state of a node for operators, and the
//! order to drain it.

use serde::{Deserialize, Serialize};

/// Request for the state of the receiving node → [`NodeReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeReportQuery;

/// State of a node, as it reports it itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NodeReport {
    pub(crate) version: String,
    /// Milliseconds since the start of the node.
    pub(crate) uptime_ms: u64,
    pub(crate) state: ReportedState,
    /// Reason for not being ready; `None` if the node accepts clients.
    pub(crate) not_ready: Option<String>,
    /// True if acknowledged writes are synced.
    pub(crate) fsync: bool,
    /// Free bytes of the disk, and free bytes below which new messages are refused.
    pub(crate) disk_free_bytes: u64,
    pub(crate) disk_reserve_bytes: u64,
    /// Sessions with a connected client.
    pub(crate) sessions: u64,
    /// Sessions without a connection that wait for their client.
    pub(crate) detached: u64,
    pub(crate) connections: u64,
    pub(crate) connections_limit: u64,
    /// Answered sends per second, mean of the last measurement.
    pub(crate) sends_per_second: f64,
    /// Frames to clients per second, mean of the last measurement.
    pub(crate) frames_out_per_second: f64,
    /// Milliseconds from a send to its answer, of half and of 99 of a hundred sends of the last measurement.
    pub(crate) ack_p50_ms: Option<f64>,
    pub(crate) ack_p99_ms: Option<f64>,
    /// Milliseconds of 99 of a hundred fsyncs of the last measurement.
    pub(crate) fsync_p99_ms: Option<f64>,
    /// Milliseconds by which the clock is ahead of the majority's; negative: behind. `None`: unknown.
    pub(crate) clock_skew_ms: Option<i64>,
    /// Replicas of the node, with that of the meta group.
    pub(crate) replicas: Vec<ReplicaReport>,
}

/// Serving state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReportedState {
    Serving,
    /// Shards are being transferred; sessions continue.
    HandingOver,
    /// Sessions are being closed.
    Draining,
    /// The node has neither shards nor sessions.
    Drained,
    /// The node has lost the majority.
    Isolated,
}

/// Replica of a shard on the reporting node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplicaReport {
    /// Number of the shard; 65535 for the meta group.
    pub(crate) shard: u16,
    /// `leader`, `follower`, `learner`, `candidate`, `shutdown` or `failed`.
    pub(crate) role: String,
    pub(crate) term: u64,
    /// Index of the last entry in the log.
    pub(crate) last: u64,
    /// Index of the last entry applied.
    pub(crate) applied: u64,
    /// Voters of the group, as the replica knows them.
    pub(crate) voters: Vec<u64>,
}

/// Order to the receiving node → [`DrainResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DrainOrder {
    /// Begins to transfer shards and to close sessions.
    Drain,
    /// Accepts shards and sessions again.
    Resume,
}

/// Reason for a refused order; `None` if it is being followed.
pub(crate) type DrainResult = Option<String>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tests::golden;

    #[test]
    fn the_encoding_of_node_reports_is_frozen() {
        golden(NodeReportQuery, &[1]);
        let report = NodeReport {
            version: "1".into(),
            uptime_ms: 300,
            state: ReportedState::Drained,
            not_ready: Some("x".into()),
            fsync: true,
            disk_free_bytes: 1,
            disk_reserve_bytes: 2,
            sessions: 3,
            detached: 4,
            connections: 5,
            connections_limit: 6,
            sends_per_second: 1.0,
            frames_out_per_second: 2.0,
            ack_p50_ms: Some(1.0),
            ack_p99_ms: None,
            fsync_p99_ms: Some(2.0),
            clock_skew_ms: Some(-1),
            replicas: vec![ReplicaReport {
                shard: 65_535,
                role: "l".into(),
                term: 7,
                last: 8,
                applied: 9,
                voters: vec![1, 2],
            }],
        };
        let one = [0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
        let two = [0, 0, 0, 0, 0, 0, 0, 0x40];
        let bytes = [
            &[1, 1, b'1', 0xac, 2, 3, 1, 1, b'x', 1, 1, 2, 3, 4, 5, 6][..],
            &one,
            &two,
            &[1],
            &one,
            &[0, 1],
            &two,
            &[1, 1, 1, 0xff, 0xff, 3, 1, b'l', 7, 8, 9, 2, 1, 2],
        ]
        .concat();
        golden(report, &bytes);
        golden(DrainOrder::Drain, &[1, 0]);
        golden(DrainOrder::Resume, &[1, 1]);
        golden::<DrainResult>(Some("x".into()), &[1, 1, 1, b'x']);
        for (state, byte) in [
            (ReportedState::Serving, 0),
            (ReportedState::HandingOver, 1),
            (ReportedState::Draining, 2),
            (ReportedState::Isolated, 4),
        ] {
            golden(state, &[1, byte]);
        }
    }
}
