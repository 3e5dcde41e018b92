//! Configurations of the parts in other crates, from that of the node.

use std::time::Duration;

use cluster::{ClusterClock, ClusterTuning, FeatureLevel};

use crate::config::{Config, StorageConfig};

/// Longest interval of heartbeats. They are rare enough to cost nothing, and a long election timeout then tolerates the
/// loss of several.
const MAX_HEARTBEAT: Duration = Duration::from_millis(300);

impl From<&StorageConfig> for storage::Config {
    fn from(config: &StorageConfig) -> storage::Config {
        storage::Config {
            fsync: config.fsync,
            ..storage::Config::new(
                &config.dir,
                config.cache_size.as_usize(),
                config.free_space_reserve.0,
            )
        }
    }
}

impl From<&Config> for cluster::Config {
    /// Returns the configuration of the member with the clock of the system.
    fn from(config: &Config) -> cluster::Config {
        let (member, election_min) = (&config.cluster, config.cluster.election_timeout.0);
        cluster::Config {
            advertise: member.advertised().to_owned(),
            zone: member.zone.clone(),
            gateway_only: member.gateway_only,
            seeds: member.seeds.clone(),
            shards: member.shards,
            replication: member.replication,
            heartbeat: (election_min / 2).min(MAX_HEARTBEAT),
            election_min,
            // Equal bounds would let all replicas time out together and split their votes.
            election_max: election_min * 3 / 2,
            snapshot_rate: member.snapshot_rate.0,
            isolated_after: config.tuning.quorum_loss_timeout.0,
            trust_disks: config.accept_older_disks,
            unsafe_recover: config.unsafe_recover,
            fsync: config.storage.fsync,
            drain_deadline: config.server.drain_timeout.0,
            supported_level: FeatureLevel::SUPPORTED,
            clock: ClusterClock::system(),
            tuning: ClusterTuning::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HumanDuration;

    #[test]
    fn heartbeat_and_longest_timeout_derive_from_the_shortest() {
        let times = |config: &Config| {
            let member = cluster::Config::from(config);
            [member.heartbeat, member.election_min, member.election_max].map(|time| time.as_millis())
        };
        let mut config = Config::default();
        assert_eq!(times(&config), [200, 400, 600]);
        config.cluster.election_timeout = HumanDuration::secs(1);
        assert_eq!(times(&config), [300, 1_000, 1_500]);
    }

    #[test]
    fn write_buffers_scale_with_the_cache_up_to_the_default() {
        let buffers = |mib: u64| {
            let mut config = Config::default().storage;
            config.cache_size = crate::config::HumanSize::mib(mib);
            let store = storage::Config::from(&config);
            [
                store.block_cache,
                store.log_write_buffer,
                store.state_write_buffer,
                store.wal_bytes,
            ]
            .map(|b| b >> 20)
        };
        assert_eq!(buffers(128), [128, 16, 32, 128]);
        assert_eq!(buffers(32), [32, 4, 8, 32]);
        assert_eq!(buffers(1_024), [1_024, 16, 32, 128]);
    }
}
