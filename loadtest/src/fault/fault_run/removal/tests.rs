//! Tests of the view of a removed member.

use protocol::ConversationId;

use super::*;
use serde_json::json;

fn taken(events: &[Value], removed_at: Option<u64>) -> Result<u64, ViolationKind> {
    let conversation = ConversationId::parse("g_1").unwrap();
    let mut view = RemovedView::default();
    for event in events {
        view.take(event, &conversation, removed_at)
            .map_err(|(kind, ..)| kind)?;
    }
    Ok(view.received)
}

#[test]
fn a_removed_member_sees_nothing_above_its_removal() {
    let at = |s: u64| json!({"t": "msg", "c": "g_1", "s": s});
    let elsewhere = json!({"t": "msg", "c": "g_2", "s": 90});
    assert_eq!(
        taken(&[at(6), at(7), elsewhere], Some(7)),
        Ok(2),
        "up to it, and elsewhere"
    );
    assert_eq!(taken(&[at(6), at(8)], Some(7)), Err(ViolationKind::AfterRemoval));
}

#[test]
fn a_member_has_no_hole_but_at_a_resync() {
    let at = |s: u64| json!({"t": "msg", "c": "g_1", "s": s});
    let resync = json!({"t": "resync", "why": "gone"});
    assert_eq!(taken(&[at(6), at(7), at(7), at(8)], None), Ok(4), "twice is once");
    assert_eq!(taken(&[at(6), resync, at(90), at(91)], None), Ok(3));
    assert_eq!(taken(&[at(6), at(8)], None), Err(ViolationKind::LiveHole));
}
