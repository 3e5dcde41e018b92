//! A process that is killed at any moment, and at each named point, loses nothing it acknowledged.
//!
//! The test binary starts itself as the process to kill. That process writes down each acknowledgement with one
//! system call, so that the list survives it; the test then opens the directory and compares.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use bytes::Bytes;
use storage::{Error, HardKey, RaftLog, ShardId, Store};

use crate::common::*;

const DIRECTORY: &str = "ROOKERY_TEST_CRASH_DIRECTORY";
#[cfg(feature = "failpoints")]
const POINT: &str = "ROOKERY_TEST_CRASH_POINT";
#[cfg(feature = "failpoints")]
const PASS: &str = "ROOKERY_TEST_CRASH_PASS";

/// Shards that are written all the time.
const SHARDS: std::ops::Range<u16> = 0..3;
/// The shard that is replaced by a copy now and then.
const COPY: ShardId = ShardId(9);
/// Entries kept in a log when it is purged.
const RETAINED: u64 = 20;
/// Steps after which a process that nobody kills ends.
const STEPS: u64 = 100_000;

/// Not a test of its own: the process that a test below kills.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    #[cfg(feature = "failpoints")]
    arm();
    let directory = Path::new(&directory);
    let store = open(directory);
    let mut acks = OpenOptions::new()
        .append(true)
        .create(true)
        .open(directory.with_extension("acks"))
        .unwrap();
    let last = replay(&store).unwrap();
    for step in last + 1..last + STEPS {
        one_step(&store, step, &mut acks).unwrap();
    }
}

/// Applies what is in every log and not yet in its state, as a node does before it goes on; returns the position.
fn replay(store: &Store) -> Result<u64, Error> {
    let states = SHARDS.map(|shard| store.state(ShardId(shard)));
    let last = states.clone().map(|state| applied(&state)).max().unwrap();
    for state in states {
        for index in applied(&state) + 1..=last {
            apply(&state, index)?;
        }
    }
    Ok(last)
}

/// Appends, votes, applies; every few steps truncates, purges, copies.
fn one_step(store: &Store, step: u64, acks: &mut impl Write) -> Result<(), Error> {
    let (sender, receiver) = mpsc::channel();
    for shard in SHARDS {
        let log = store.log(ShardId(shard));
        let sender = sender.clone();
        let done = move |result: Result<(), Error>| sender.send(result.map(|()| shard)).unwrap();
        log.append(vec![(step, entry(&log, step))], Box::new(done));
    }
    drop(sender);
    for acked in receiver {
        note(acks, "entry", acked?, step);
    }
    for log in SHARDS.map(|shard| store.log(ShardId(shard))) {
        if step.is_multiple_of(3) {
            vote(&log, &step.to_string())?;
            note(acks, "vote", log.shard().0, step);
        }
        if step.is_multiple_of(4) {
            // A conflicting suffix that a new leader replaces: it must be gone when that is acknowledged.
            wait(|done| log.append(vec![(step + 1, Bytes::from_static(b"conflict"))], done))?;
            wait(|done| log.truncate_from(step + 1, done))?;
        }
        apply(&store.state(log.shard()), step)?;
        if step.is_multiple_of(10) && step > RETAINED {
            store.state(log.shard()).sync()?;
            log.purge_to(step - RETAINED, Bytes::from((step - RETAINED).to_string()));
        }
    }
    if step.is_multiple_of(5) {
        copy(&store.state(ShardId(0)), &store.state(COPY), 512)?;
        note(acks, "copy", COPY.0, step);
    }
    Ok(())
}

/// Notes what was acknowledged, in one write: a kill between two would leave half a line, which the next process goes on.
fn note(acks: &mut impl Write, what: &str, shard: u16, step: u64) {
    let line = format!("{what} {shard} {step}\n");
    acks.write_all(line.as_bytes()).unwrap();
}

/// Opens what a killed process left, and checks it against what it had acknowledged.
fn check(directory: &Path) -> u64 {
    let acks = std::fs::read_to_string(directory.with_extension("acks")).unwrap_or_default();
    // A process that was killed while it wrote a line has told nobody.
    let whole = acks.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut acked: HashMap<(String, u16), u64> = HashMap::new();
    for line in whole.lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let key = (word().to_owned(), word().parse().unwrap());
        acked.insert(key, word().parse().unwrap());
    }
    let acked = |what: &str, shard: u16| acked.get(&(what.to_owned(), shard)).copied().unwrap_or(0);
    let store = open(directory);
    for shard in SHARDS {
        let (log, state) = (store.log(ShardId(shard)), store.state(ShardId(shard)));
        let last = check_log(&log, acked("entry", shard));
        let position = assert_consistent(&state);
        assert!(
            position <= last,
            "applied {position} before the log, which ends at {last}"
        );
        let vote = log
            .get_hard(HardKey::Vote)
            .unwrap()
            .map_or(0, |vote| number(&vote));
        assert!(
            vote >= acked("vote", shard),
            "vote {vote} is older than {}",
            acked("vote", shard)
        );
    }
    let copied = assert_consistent(&store.state(COPY));
    assert!(
        copied >= acked("copy", COPY.0),
        "copy of {copied} is older than {}",
        acked("copy", COPY.0)
    );
    acked("entry", 0)
}

/// Checks that a log has every acknowledged entry and no hole; returns its last index.
fn check_log(log: &RaftLog, acked: u64) -> u64 {
    let purged = log
        .get_hard(HardKey::Purged)
        .unwrap()
        .map_or(0, |marker| number(&marker));
    let entries = log.read(0..u64::MAX, usize::MAX).unwrap();
    let Some((first, _)) = entries.first() else {
        assert_eq!(acked, 0, "acknowledged entries are gone");
        return 0;
    };
    assert_eq!(*first, purged + 1);
    let last = entries.last().unwrap().0;
    assert!(last >= acked, "log ends at {last}, but {acked} was acknowledged");
    for (index, content) in &entries {
        let conflict = *index > acked && content == "conflict";
        assert!(
            conflict || *content == entry(log, *index),
            "entry {index} is {content:?}"
        );
    }
    last
}

fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

fn child(directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::child_writes_until_it_is_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn acked_writes_survive_kill_9_at_any_moment() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let mut seen = 0;
    for round in 0..6 {
        let mut child = KillOnDrop(child(&directory).spawn().unwrap());
        // Kill it when it has acknowledged some more, at a different place each time.
        while lines(&directory) < seen + 40 + 37 * round {
            assert!(
                child.0.try_wait().unwrap().is_none(),
                "the process ended by itself"
            );
            std::thread::yield_now();
        }
        drop(child);
        seen = lines(&directory);
        check(&directory);
    }
}

fn lines(directory: &Path) -> usize {
    std::fs::read(directory.with_extension("acks"))
        .map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // Gone already is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Aborts this process at the given pass of the given failpoint.
#[cfg(feature = "failpoints")]
fn arm() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let Ok(point) = std::env::var(POINT) else { return };
    let left = AtomicU64::new(std::env::var(PASS).unwrap().parse().unwrap());
    fail::cfg_callback(point, move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    })
    .unwrap();
}

#[cfg(feature = "failpoints")]
#[test]
fn acked_writes_survive_a_kill_at_every_failpoint() {
    const POINTS: [&str; 10] = [
        "before_write",
        "after_write",
        "before_sync",
        "after_sync",
        "before_ack",
        "before_commit",
        "after_commit",
        "import_chunk",
        "import_before_flip",
        "import_after_flip",
    ];
    let parent = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for point in POINTS {
            let directory = parent.path().join(point);
            scope.spawn(move || {
                // The same directory again and again: each crash starts from what the one before left.
                for pass in [1, 2, 11, 40] {
                    let status = child(&directory)
                        .env(POINT, format!("storage::{point}"))
                        .env(PASS, pass.to_string())
                        .status()
                        .unwrap();
                    assert!(!status.success(), "{point} was not passed {pass} times");
                    check(&directory);
                }
                assert!(check(&directory) > 4, "{point} left no room to work");
            });
        }
    });
}
