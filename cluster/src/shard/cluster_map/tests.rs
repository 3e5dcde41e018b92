//! Changes of the cluster map, and its bytes.

use super::*;

fn created() -> ClusterMap {
    let mut map = ClusterMap::default();
    let create = MapChange::Create {
        cluster: 7,
        shards: 4,
        addr: "a:1".into(),
        zone: String::new(),
        supported_level: FeatureLevel(1),
    };
    assert_eq!(map.apply(create.clone()), MapChangeResult::Done { version: 1 });
    assert!(matches!(map.apply(create), MapChangeResult::Refused { .. }));
    map
}

fn join(ticket: u64) -> MapChange {
    MapChange::Join {
        ticket,
        addr: "b:1".into(),
        zone: String::new(),
        supported_level: FeatureLevel(1),
    }
}

#[test]
fn a_repeated_join_gets_the_same_id_and_ids_are_never_reused() {
    let mut map = created();
    let second = MapChangeResult::Joined {
        node: NodeId(2),
        cluster: 7,
    };
    assert_eq!(map.apply(join(11)), second);
    assert_eq!(map.apply(join(11)), second);
    assert_eq!(
        map.apply(join(12)),
        MapChangeResult::Joined {
            node: NodeId(3),
            cluster: 7
        }
    );
    assert_eq!(map.nodes.len(), 3);
}

#[test]
fn the_level_rises_with_the_last_member_and_never_falls() {
    let mut map = created();
    map.apply(join(11));
    let raise = |level| MapChange::RaiseLevel {
        level: FeatureLevel(level),
    };
    let supports = |node, level| MapChange::Move {
        node: NodeId(node),
        addr: "a:1".into(),
        zone: String::new(),
        supported_level: FeatureLevel(level),
    };
    let refused = |result| matches!(result, MapChangeResult::Refused { .. });
    assert!(refused(map.apply(raise(2))), "no member supports it");
    map.apply(supports(1, 2));
    assert!(refused(map.apply(raise(2))), "one member does not support it");
    map.apply(supports(2, 3));
    assert!(matches!(map.apply(raise(2)), MapChangeResult::Done { .. }));
    assert_eq!(map.level, FeatureLevel(2));
    assert!(refused(map.apply(raise(1))) && refused(map.apply(raise(2))));
    let below = MapChangeResult::BelowLevel {
        level: FeatureLevel(2),
    };
    assert_eq!(map.apply(supports(2, 1)), below);
    assert_eq!(map.apply(join(12)), below, "a joining node below the level");
    assert_eq!(map.nodes.len(), 2);
}

#[test]
fn map_and_changes_keep_their_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut map = ClusterMap::default();
    map.apply(MapChange::Create {
        cluster: 7,
        shards: 1,
        addr: "a:1".into(),
        zone: "z".into(),
        supported_level: FeatureLevel(1),
    });
    assert_eq!(
        hex(&map.encode()),
        // Version, cluster, map version, level; one node; one shard; meta; next id; no tickets.
        "0207010101010103613a31017a01010101010101010200"
    );
    let (addr, zone) = (String::from("b:1"), String::new());
    let supported_level = FeatureLevel(2);
    let join = MapChange::Join {
        ticket: 9,
        addr: addr.clone(),
        zone: zone.clone(),
        supported_level,
    };
    let moved = MapChange::Move {
        node: NodeId(2),
        addr,
        zone,
        supported_level,
    };
    let remove = MapChange::Remove { node: NodeId(2) };
    let raise = MapChange::RaiseLevel {
        level: supported_level,
    };
    for (change, golden) in [
        (join, "010903623a310002"),
        (moved, "020203623a310002"),
        (remove, "0302"),
        (raise, "0502"),
    ] {
        assert_eq!(hex(&change.encode()), golden);
        assert_eq!(MapChange::decode(&change.encode()), Ok(change));
    }
}

#[test]
fn an_unknown_change_is_undecodable() {
    let unknown = MapChange::decode(&[9, 1]).unwrap_err();
    assert_eq!((unknown.kind, unknown.version), (Some(9), VERSION));
    let longer = [&MapChange::Remove { node: NodeId(2) }.encode()[..], &[0]].concat();
    assert!(MapChange::decode(&longer).is_err());
}

#[test]
fn a_placement_made_for_another_map_is_refused() {
    let mut map = created();
    let assign = |based_on, count| MapChange::AssignShards {
        based_on,
        shards: vec![Placement::default(); count],
        meta: Placement::default(),
    };
    assert!(matches!(map.apply(assign(0, 4)), MapChangeResult::Refused { .. }));
    assert!(matches!(map.apply(assign(1, 5)), MapChangeResult::Refused { .. }));
    assert_eq!(map.apply(assign(1, 4)), MapChangeResult::Done { version: 2 });
}

#[test]
fn removed_member_leaves_the_map_and_its_id_is_not_reused() {
    let mut map = created();
    map.apply(join(11));
    let remove = |node| MapChange::Remove { node: NodeId(node) };
    assert!(!map.has_removed(NodeId(2)));
    assert_eq!(map.apply(remove(2)), MapChangeResult::Done { version: 3 });
    assert!(map.has_removed(NodeId(2)));
    assert!(!map.has_removed(NodeId(3)), "a number that was not given out yet");
    assert!(!map.has_removed(NodeId(0)), "a node without a number");
    assert!(matches!(map.apply(remove(2)), MapChangeResult::Refused { .. }));
    assert!(
        matches!(map.apply(remove(1)), MapChangeResult::Refused { .. }),
        "the last member stays"
    );
    assert_eq!(
        map.apply(join(11)),
        MapChangeResult::Joined {
            node: NodeId(3),
            cluster: 7
        }
    );
}

#[test]
fn a_cluster_that_does_not_exist_cannot_be_joined() {
    assert!(matches!(
        ClusterMap::default().apply(join(1)),
        MapChangeResult::Refused { .. }
    ));
}

#[test]
fn a_map_is_read_back() {
    let mut map = created();
    map.apply(join(3));
    assert_eq!(ClusterMap::decode(&map.encode()).unwrap(), map);
    assert!(ClusterMap::decode(&[9, 9]).is_err());
}
