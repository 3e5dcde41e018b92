//! A member leaves while others lose power: the cluster map has the order, so it is carried out whoever restarts.

use std::time::Duration;

use cluster::{NodeDuty, NodeId};

use crate::scenarios::{eventually, send_to_all, simulate, three};

#[test]
fn a_member_leaves_although_every_member_restarts_meanwhile() {
    simulate(async |simulation| {
        let members = three(&simulation).await;
        send_to_all(&simulation).await;
        members[0].set_duty(NodeId(3), NodeDuty::Leave).await.unwrap();
        // First the one that leaves, then both others, of which one owns the meta group.
        for position in [2, 0, 1] {
            simulation.members[position].crash(0);
            tokio::time::sleep(Duration::from_millis(100)).await;
            // It may have left by now, which its next start reports.
            let started = simulation.members[position].start().await;
            assert!(started.is_ok() || position == 2, "{:?}", started.err());
        }
        let stayed = || {
            simulation.members[..2]
                .iter()
                .filter_map(|member| member.running())
        };
        eventually("the map without the third member", || {
            stayed().count() == 2 && stayed().all(|member| member.nodes().len() == 2)
        })
        .await;
        let third = &simulation.members[2];
        eventually("the third member to know it", || {
            third.running().is_none_or(|member| member.removed())
        })
        .await;
        send_to_all(&simulation).await;
        let voters = || {
            stayed().all(|member| {
                let status = member.status();
                let groups = status.shards.iter().chain([&status.meta]);
                let mut local =
                    groups.map(|group| group.local.as_ref().map_or(0, |local| local.voters.len()));
                local.all(|voters| voters == 2)
            })
        };
        eventually("two voters of every group", voters).await;
        let positions = |member: cluster::Cluster| -> Vec<(u64, String)> {
            let status = member.status();
            let groups = status.shards.into_iter().chain([status.meta]);
            let local = groups.filter_map(|group| group.local);
            local.map(|local| (local.applied, local.digest)).collect()
        };
        eventually("equal replicas", || {
            let mut positions = stayed().map(positions);
            positions.next() == positions.next()
        })
        .await;
        // Time for the mark of the removal to reach the disk.
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The power goes off and on: it is no member, and says what to do.
        third.crash(0);
        let refused = third.start().await.unwrap_err().to_string();
        assert!(refused.contains("empty the data directory"), "{refused}");
    });
}
