//! Sound recordings pass, and each defect planted in one is found by its name.

use super::*;
use crate::oracle::ViolationKind;

const MEMBERS: [&str; 2] = ["ann", "bob"];
/// Position of the last member event, after which the views begin.
const BEGIN: u64 = 2;

fn event(s: u64, user: &str, cid: &str, text: &str) -> String {
    let mn = s - BEGIN;
    format!(
        r#"{{"t":"msg","s":{s},"mn":{mn},"ts":{},"u":"{user}","cid":"{cid}","b":{{"text":"{text}"}}}}"#,
        1000 + s
    )
}

fn line(kind: &str, user: &str, rest: &str) -> String {
    format!(r#"{{"t":"{kind}","u":"{user}","c":"g_1",{rest}}}"#)
}

/// Six messages of two members in turn, each sent, acknowledged and shown to both, and the log read again at the end.
/// The message with the text `3` has `s` 5, for example.
fn sound() -> Vec<String> {
    let mut lines: Vec<String> = MEMBERS
        .map(|user| line("joined", user, &format!(r#""s":{BEGIN}"#)))
        .to_vec();
    let mut log = Vec::new();
    for i in 1..=6 {
        let (s, user) = (BEGIN + i, MEMBERS[i as usize % 2]);
        let cid = format!("{user}{i}");
        let logged = event(s, user, &cid, &i.to_string());
        lines.push(line(
            "sent",
            user,
            &format!(r#""cid":"{cid}","b":{{"text":"{i}"}}"#),
        ));
        // A message is shown to others before or after its sender has the ack.
        let acked = line("acked", user, &format!(r#""cid":"{cid}","s":{s}"#));
        let applied = MEMBERS.map(|user| line("applied", user, &format!(r#""event":{logged}"#)));
        match i % 2 {
            0 => lines.extend([acked, applied[0].clone(), applied[1].clone()]),
            _ => lines.extend([applied[1].clone(), acked, applied[0].clone()]),
        }
        lines.push(line("reach", user, &format!(r#""s":{s},"delivered":1,"read":0"#)));
        log.push(logged);
    }
    lines.push(line("reach", "ann", r#""s":8,"delivered":1,"read":1"#));
    for user in MEMBERS {
        lines.push(line("log", user, &format!(r#""events":[{}]"#, log.join(","))));
        lines.push(line("row", user, r#""last":8,"unread":2,"read":6,"delivered":8"#));
    }
    lines
}

fn verdict(lines: &[String]) -> Vec<ViolationKind> {
    let mut recorded = Recorded::default();
    for line in lines {
        recorded.line(line).unwrap();
    }
    recorded.line(&end(lines.len())).unwrap();
    let oracle = recorded.end().unwrap();
    oracle
        .violations()
        .iter()
        .map(|violation| violation.kind)
        .collect()
}

fn end(lines: usize) -> String {
    format!(r#"{{"t":"end","lines":{lines}}}"#)
}

/// Error of the last line.
fn refused(lines: &[String]) -> String {
    let mut recorded = Recorded::default();
    let (last, others) = lines.split_last().unwrap();
    for line in others {
        recorded.line(line).unwrap();
    }
    recorded.line(last).unwrap_err().to_string()
}

fn replaced(from: &str, to: &str) -> Vec<String> {
    let lines = sound();
    let changed: Vec<String> = lines.iter().map(|line| line.replace(from, to)).collect();
    assert_ne!(changed, lines, "nothing has {from}");
    changed
}

#[test]
fn a_sound_recording_breaks_no_promise() {
    assert_eq!(verdict(&sound()), []);
}

#[test]
fn an_acknowledged_message_that_is_in_no_log_is_lost() {
    let mut lines = sound();
    lines.retain(|line| !line.contains(r#""applied""#) || !line.contains(r#""s":8"#));
    for line in &mut lines {
        if line.contains(r#""log""#) {
            let last = line.find(r#",{"t":"msg","s":8"#).unwrap();
            line.replace_range(last.., "]}");
        }
    }
    let kinds = verdict(&lines);
    assert!(kinds.contains(&ViolationKind::AckedLost), "{kinds:?}");
    assert!(kinds.contains(&ViolationKind::StaleRead), "{kinds:?}");
}

#[test]
fn a_message_that_one_client_lacks_is_missed() {
    let mut lines = sound();
    lines.retain(|line| !(line.starts_with(r#"{"t":"applied","u":"ann""#) && line.contains(r#""s":8"#)));
    assert_eq!(verdict(&lines), [ViolationKind::MissedAtEnd]);
}

#[test]
fn a_message_that_is_applied_twice_is_found() {
    let mut lines = sound();
    let again = lines
        .iter()
        .position(|line| line.starts_with(r#"{"t":"applied""#))
        .unwrap();
    lines.insert(again + 1, lines[again].clone());
    assert_eq!(verdict(&lines), [ViolationKind::Hole]);
}

/// A sound recording in which ann is not shown the messages at 4 to 6 at first, and reports the gap.
fn with_a_gap() -> Vec<String> {
    let skipped = |line: &String| {
        line.starts_with(r#"{"t":"applied","u":"ann""#)
            && [4, 5, 6].iter().any(|s| line.contains(&format!(r#""s":{s},"#)))
    };
    let mut lines: Vec<String> = sound().into_iter().filter(|line| !skipped(line)).collect();
    let next = r#"{"t":"applied","u":"ann","c":"g_1","event":{"t":"msg","s":7"#;
    let at = lines.iter().position(|line| line.starts_with(next)).unwrap();
    lines.insert(at, line("gap", "ann", r#""from":4,"to":6"#));
    let page = lines[at + 1].replace(r#""applied""#, r#""page""#);
    lines.push(page);
    lines
}

#[test]
fn a_gap_that_is_filled_in_the_end_breaks_no_promise() {
    assert_eq!(verdict(&with_a_gap()), []);
}

#[test]
fn a_gap_that_is_never_filled_is_found() {
    let mut lines = with_a_gap();
    lines.retain(|line| !line.starts_with(r#"{"t":"log","u":"ann""#));
    assert_eq!(verdict(&lines), [ViolationKind::MissedAtEnd]);
}

#[test]
fn a_hole_beside_a_gap_is_found() {
    let lines = with_a_gap();
    let later: Vec<String> = lines
        .iter()
        .map(|line| line.replace(r#""from":4"#, r#""from":5"#))
        .collect();
    let kinds = verdict(&later);
    assert!(kinds.contains(&ViolationKind::Hole), "{kinds:?}");
}

#[test]
fn a_message_with_two_positions_is_a_duplicate() {
    let mut lines = replaced(
        r#""u":"bob","cid":"bob5","b":{"text":"5"}"#,
        r#""u":"bob","cid":"bob3","b":{"text":"3"}"#,
    );
    // The ack of the message whose place it takes would be wrong, too.
    lines.retain(|line| !line.contains(r#""cid":"bob5""#));
    let kinds = verdict(&lines);
    assert!(kinds.contains(&ViolationKind::Duplicate), "{kinds:?}");
}

#[test]
fn messages_in_another_order_than_sent_are_reordered() {
    let mut lines = sound();
    // The lines of the sends change places: the later message is now the first that ann sent.
    let sent = |lines: &[String], cid: &str| {
        let start = format!(r#"{{"t":"sent","u":"ann","c":"g_1","cid":"{cid}""#);
        lines.iter().position(|line| line.starts_with(&start)).unwrap()
    };
    let later = lines.remove(sent(&lines, "ann4"));
    lines.insert(sent(&lines, "ann2"), later);
    let kinds = verdict(&lines);
    assert!(kinds.contains(&ViolationKind::Reordered), "{kinds:?}");
}

#[test]
fn an_altered_body_and_an_unknown_message_are_found() {
    let altered = replaced(
        r#""s":8,"mn":6,"ts":1008,"u":"ann","cid":"ann6","b":{"text":"6"}"#,
        r#""s":8,"mn":6,"ts":1008,"u":"ann","cid":"ann6","b":{"text":"7"}"#,
    );
    assert!(verdict(&altered).contains(&ViolationKind::Altered));
    let unknown = replaced(r#""u":"ann","cid":"ann6","b""#, r#""u":"ann","cid":"ann7","b""#);
    assert!(verdict(&unknown).contains(&ViolationKind::Phantom));
}

#[test]
fn a_receipt_that_goes_back_is_found() {
    let mut lines = sound();
    lines.push(line("reach", "ann", r#""s":8,"delivered":1,"read":0"#));
    assert_eq!(verdict(&lines), [ViolationKind::CursorFell]);
}

#[test]
fn a_wrong_unread_count_is_found() {
    assert_eq!(
        verdict(&replaced(r#""unread":2"#, r#""unread":1"#)),
        [ViolationKind::UnreadWrong, ViolationKind::UnreadWrong]
    );
}

#[test]
fn an_unanswered_message_is_found() {
    let mut lines = sound();
    lines.push(line("sent", "bob", r#""cid":"bob7","b":{"text":"7"}"#));
    assert_eq!(verdict(&lines), [ViolationKind::Wedged]);
}

#[test]
fn a_permanent_refusal_of_a_member_is_found() {
    let mut lines = sound();
    lines.push(line("sent", "bob", r#""cid":"bob7","b":{"text":"7"}"#));
    lines.push(line("refused", "bob", r#""cid":"bob7","code":"not_member""#));
    assert_eq!(verdict(&lines), [ViolationKind::RefusedWrongly]);
}

#[test]
fn a_recording_that_is_cut_short_has_no_verdict() {
    let lines = sound();
    let mut recorded = Recorded::default();
    for line in &lines {
        recorded.line(line).unwrap();
    }
    let error = recorded.line(&end(lines.len() + 1)).unwrap_err();
    assert!(error.to_string().contains("lines before its end"), "{error}");
    assert!(matches!(recorded.end(), Err(Error::CutShort)));
    let mut empty = Recorded::default();
    empty.line(&end(0)).unwrap();
    assert!(matches!(empty.end(), Err(Error::Inconclusive(_))));
}

#[test]
fn a_line_that_cannot_be_right_names_its_defect() {
    let with = |last: String| refused(&[sound(), vec![last]].concat());
    for (last, why) in [
        ("{".to_owned(), "no line of a recording"),
        (line("sung", "ann", r#""s":1"#), "\"sung\""),
        (line("acked", "ann", r#""s":1"#), "`cid` is missing"),
        (
            line("acked", "ann", r#""cid":"bob1","s":3"#),
            "was not sent by the user",
        ),
        (line("acked", "bob", r#""cid":"bob1","s":3"#), "answered already"),
        (line("sent", "bob", r#""cid":"bob1","b":{}"#), "sent before"),
        (line("sent", "eve", r#""cid":"eve1","b":{}"#), "has not joined"),
        (line("row", "ann", r#""last":1,"colour":2"#), "colour"),
    ] {
        let error = with(last);
        assert!(error.contains(why), "{error} does not have {why}");
    }
}
