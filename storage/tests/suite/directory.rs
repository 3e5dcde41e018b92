//! Who may open a directory, and who is told what.

use std::fs;
use std::process::Command;

use crate::common::*;
use storage::{Error, ShardId};

const CHILD: &str = "ROOKERY_TEST_OPEN";

/// Not a test of its own: what the second process of a test below does.
#[test]
fn child_opens_the_directory_it_is_given() {
    if let Some(path) = std::env::var_os(CHILD) {
        match try_open(path.as_ref()) {
            Ok(_) => println!("opened"),
            Err(error) => println!("refused: {error}"),
        }
    }
}

#[test]
fn a_second_process_is_refused_until_the_first_has_closed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let second = || {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "directory::child_opens_the_directory_it_is_given",
                "--nocapture",
            ])
            .env(CHILD, directory.path())
            .output()
            .unwrap();
        String::from_utf8(child.stdout).unwrap()
    };
    let refused = second();
    assert!(refused.contains("is in use by another process"), "{refused}");
    store.close();
    let opened = second();
    assert!(opened.contains("opened"), "{opened}");
}

#[test]
fn the_same_process_can_not_open_it_twice() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert!(matches!(try_open(directory.path()), Err(Error::Locked { .. })));
    // A view keeps the database open after the store has closed.
    let view = store.state(ShardId(0)).view();
    store.close();
    assert!(matches!(try_open(directory.path()), Err(Error::Locked { .. })));
    drop(view);
    assert!(try_open(directory.path()).is_ok());
}

#[test]
fn a_newer_format_is_refused_and_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let format = directory.path().join("FORMAT");
    fs::write(&format, "rookery-storage\nformat 2\n").unwrap();
    let before = listing(&directory.path().join("db"));
    let error = try_open(directory.path()).unwrap_err();
    assert!(matches!(
        error,
        Error::Newer {
            found: 2,
            supported: 1
        }
    ));
    assert!(error.to_string().contains("start a newer version"), "{error}");
    assert_eq!(listing(&directory.path().join("db")), before);
    fs::write(&format, "rookery-storage\nformat 1\n").unwrap();
    assert!(try_open(directory.path()).is_ok());
}

#[test]
fn foreign_databases_are_refused_and_other_files_ignored() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("node.toml"), "").unwrap();
    assert!(try_open(directory.path()).is_ok());

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("CURRENT"), "MANIFEST-000001").unwrap();
    assert!(matches!(try_open(directory.path()), Err(Error::Foreign { .. })));

    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    fs::remove_file(directory.path().join("FORMAT")).unwrap();
    assert!(matches!(try_open(directory.path()), Err(Error::Foreign { .. })));

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    assert!(matches!(
        try_open(&directory.path().join("file")),
        Err(Error::Io { .. })
    ));
}

#[test]
fn an_old_database_under_a_newer_sync_marker_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    append(&store.log(ShardId(0)), 1..=5).unwrap();
    store.close();
    let old = directory.path().join("old");
    copy_files(&directory.path().join("db"), &old);
    let store = open(directory.path());
    append(&store.log(ShardId(0)), 6..=9).unwrap();
    store.close();

    fs::remove_dir_all(directory.path().join("db")).unwrap();
    fs::rename(&old, directory.path().join("db")).unwrap();
    let error = try_open(directory.path()).unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt(why) if why.contains("synced commit groups are missing")),
        "{error}"
    );
}

#[test]
fn a_damaged_sync_marker_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    append(&store.log(ShardId(0)), 1..=5).unwrap();
    store.close();
    let marker = directory.path().join("WITNESS");
    let mut bytes = fs::read(&marker).unwrap();
    bytes[7] ^= 1;
    fs::write(&marker, bytes).unwrap();
    assert!(matches!(try_open(directory.path()), Err(Error::Corrupt(_))));
}

#[test]
fn inspect_reads_a_directory_that_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put_node("id", b"7").unwrap();
    append(&store.log(ShardId(3)), 4..=9).unwrap();
    vote(&store.log(ShardId(3)), "term 2").unwrap();
    (1..=5).for_each(|index| apply(&store.state(ShardId(3)), index).unwrap());
    store.state(ShardId(3)).sync().unwrap();
    let report = storage::inspect::InspectReport::read(TABLES, directory.path()).unwrap();
    assert_eq!(report.shards.len(), 1);
    assert_eq!(report.shards[0].log, Some((4, 9)));
    let text = report.to_string();
    for part in [
        "shard 3: generation 0, log 4..=9 (6 entries)",
        "vote         \"term 2\"",
        "msg          5 rows",
        "id = \"7\"",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

fn listing(path: &std::path::Path) -> Vec<(std::ffi::OsString, u64)> {
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().len()))
        .collect();
    files.sort();
    files
}

fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn the_open_database_is_locked() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("db");
    let mode = || fs::metadata(&database).unwrap().permissions().mode() & 0o777;
    open(directory.path()).close();
    assert_eq!(mode(), 0o700);
    // One of an older version is closed when it is opened.
    fs::set_permissions(&database, fs::Permissions::from_mode(0o755)).unwrap();
    open(directory.path()).close();
    assert_eq!(mode(), 0o700);
}
