//! Tests of the recorder.

use super::*;

#[test]
fn a_message_counts_in_the_phase_in_which_it_was_due() {
    let mut recorder = Recorder::new();
    recorder.phase("before", 0);
    recorder.phase("fault", 10 * SECOND);
    recorder.acked(9 * SECOND, 12 * SECOND); // due before, answered during
    recorder.acked(11 * SECOND, 12 * SECOND);
    recorder.delivered(11 * SECOND, 13 * SECOND);
    let counts: Vec<_> = recorder
        .phases()
        .iter()
        .map(|phase| (phase.ack.len(), phase.deliver.len()))
        .collect();
    assert_eq!(counts, [(0, 0), (1, 0), (1, 1)]);
    assert!(recorder.phases()[1].ack.max() >= 2_990_000);
}

#[test]
fn a_phase_is_named_by_its_part_and_by_what_goes_on_beside_it() {
    let mut recorder = Recorder::new();
    recorder.part("100/s", 0);
    recorder.phase("kill", 1);
    recorder.part("200/s", 2);
    let names: Vec<_> = recorder
        .phases()
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    assert_eq!(names, ["set-up", "100/s", "100/s, kill", "200/s, kill"]);
}

#[test]
fn each_second_has_its_own_figures() {
    let mut recorder = Recorder::new();
    recorder.sent();
    recorder.acked(0, 5000 * 1000);
    recorder.error("busy");
    recorder.tick(SECOND + 1);
    recorder.tick(SECOND + 2);
    recorder.sent();
    recorder.tick(2 * SECOND);
    let sent: Vec<_> = recorder
        .seconds()
        .iter()
        .map(|second| (second.at, second.sent, second.errors))
        .collect();
    assert_eq!(sent, [(0, 1, 1), (1, 1, 0)]);
    assert_eq!(recorder.seconds()[0].ack_p50_us / 1000, 5);
}
