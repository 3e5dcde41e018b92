//! Tests of the links that a fault affects.

use crate::spec::FaultKind;

#[test]
fn a_cut_is_of_a_pair_a_group_or_one_direction() {
    let all = [1, 2, 3];
    assert_eq!(
        FaultKind::Cut.ways(false, &[1], &all),
        [(1, 2), (1, 3), (2, 1), (3, 1)]
    );
    assert_eq!(FaultKind::Mute.ways(false, &[1], &all), [(1, 2), (1, 3)]);
    assert_eq!(FaultKind::Deaf.ways(false, &[1], &all), [(2, 1), (3, 1)]);
    assert_eq!(FaultKind::Cut.ways(true, &[3, 1], &all), [(1, 3), (3, 1)]);
    assert_eq!(FaultKind::Mute.ways(true, &[3, 1], &all), [(3, 1)]);
    assert_eq!(
        FaultKind::Cut.ways(false, &[1, 2], &all),
        [(1, 3), (2, 3), (3, 1), (3, 2)],
        "a group still talks within"
    );
    assert_eq!(FaultKind::Cut.ways(false, &all, &all).len(), 6, "each is alone");
}
