//! Duties of members and chosen owners: what the map and the placement make of them.

use super::placement_of;
use crate::ids::{FeatureLevel, META_SHARD, NodeDuty, NodeId};
use crate::shard::{ClusterMap, MapChange, MapChangeResult};

const DONE: fn(&MapChangeResult) -> bool = |result| matches!(result, MapChangeResult::Done { .. });

/// Returns a map of four members, of which the last one only routes.
fn three_and_a_gateway() -> ClusterMap {
    let mut map = ClusterMap::default();
    let supported_level = FeatureLevel(2);
    map.apply(MapChange::Create {
        cluster: 7,
        shards: 4,
        addr: "a:1".into(),
        zone: String::new(),
        supported_level,
    });
    for (ticket, duty) in [
        (2, NodeDuty::Replicas),
        (3, NodeDuty::Replicas),
        (4, NodeDuty::Gateway),
    ] {
        let join = MapChange::JoinAs {
            ticket,
            addr: "b:1".into(),
            zone: String::new(),
            supported_level,
            duty,
        };
        for _repeat in 0..2 {
            let joined = map.apply(join.clone());
            let expected = MapChangeResult::Joined {
                node: NodeId(ticket),
                cluster: 7,
            };
            assert_eq!(joined, expected);
        }
    }
    assign(&mut map);
    map
}

/// Does what the meta group's owner does after a change of the members.
fn assign(map: &mut ClusterMap) {
    let (shards, meta) = placement_of(map, 3);
    let based_on = map.version;
    let assigned = map.apply(MapChange::AssignShards {
        based_on,
        shards,
        meta,
    });
    assert!(DONE(&assigned), "{assigned:?}");
}

fn duty(node: u64, duty: NodeDuty) -> MapChange {
    MapChange::SetDuty {
        node: NodeId(node),
        duty,
    }
}

#[test]
fn placement_leaves_out_gateways_and_members_that_leave() {
    let mut map = three_and_a_gateway();
    assert!((1..=3).all(|node| map.places_on(NodeId(node))) && !map.places_on(NodeId(4)));
    assert_eq!(map.electorate().count(), 3);
    assert!(DONE(&map.apply(duty(2, NodeDuty::Leave))));
    assign(&mut map);
    assert!(!map.places_on(NodeId(2)));
    assert_eq!((map.leavers(), map.electorate().count()), (vec![NodeId(2)], 3));
    // It stays after all, and is placed as before.
    assert!(DONE(&map.apply(duty(2, NodeDuty::Replicas))));
    assign(&mut map);
    assert_eq!((map.places_on(NodeId(2)), map.leavers()), (true, Vec::new()));
}

#[test]
fn last_member_with_replicas_keeps_them() {
    let mut map = three_and_a_gateway();
    let refused = |result| matches!(result, MapChangeResult::Refused { .. });
    for node in [1, 2] {
        assert!(DONE(&map.apply(duty(node, NodeDuty::Leave))));
    }
    let before = map.clone();
    assert!(refused(map.apply(duty(3, NodeDuty::Leave))));
    assert!(refused(map.apply(duty(3, NodeDuty::Gateway))));
    assert!(refused(map.apply(duty(9, NodeDuty::Gateway))), "no such member");
    assert!(refused(map.apply(MapChange::Remove { node: NodeId(3) })));
    assert_eq!(map, before);
    assert!(DONE(&map.apply(MapChange::Remove { node: NodeId(1) })));
    assert_eq!(map.leavers(), [NodeId(2)], "a removed member has no duty");
}

#[test]
fn chosen_owner_is_preferred_until_it_is_released_or_gone() {
    let mut map = three_and_a_gateway();
    let placed = map.shards.clone();
    let pin = |shard, node| MapChange::Pin {
        shard,
        node: NodeId(node),
    };
    let refused = |result| matches!(result, MapChangeResult::Refused { .. });
    assert!(refused(map.apply(pin(0, 4))), "a gateway holds no replica");
    assert!(refused(map.apply(pin(9, 1))), "no such shard");
    for node in 1..=3 {
        for shard in [0, META_SHARD.0] {
            assert!(DONE(&map.apply(pin(shard, node))));
        }
        assert_eq!(
            (map.shards[0].preferred, map.meta.preferred),
            (NodeId(node), NodeId(node))
        );
        let (shards, meta) = placement_of(&map, 3);
        assert_eq!((&shards, &meta), (&map.shards, &map.meta), "nothing to assign");
    }
    assert!(DONE(&map.apply(MapChange::Unpin)));
    assign(&mut map);
    assert_eq!(map.shards, placed);
    // A choice ends with the member's replicas.
    assert!(DONE(&map.apply(pin(0, 2))));
    assert!(DONE(&map.apply(duty(2, NodeDuty::Leave))));
    assert!(DONE(&map.apply(duty(2, NodeDuty::Replicas))));
    assign(&mut map);
    assert_eq!(map.shards, placed);
}

#[test]
fn map_without_duties_keeps_the_former_version() {
    let mut map = three_and_a_gateway();
    assert_eq!(map.encode()[0], 3);
    assert_eq!(ClusterMap::decode(&map.encode()).unwrap(), map);
    assert!(DONE(&map.apply(duty(4, NodeDuty::Replicas))));
    let plain = map.encode();
    assert_eq!(plain[0], 2, "builds of level 1 read it");
    assert_eq!(ClusterMap::decode(&plain).unwrap(), map);
}
