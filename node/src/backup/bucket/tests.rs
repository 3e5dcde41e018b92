//! Requests of the client, read by a server that answers as it is told. A real object storage is behind it in
//! `scripts/backup-s3.sh`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use super::*;

/// Request as the server read it.
struct Received {
    line: String,
    body: Vec<u8>,
    /// Number of the connection, from 0.
    connection: usize,
}

/// Answers one request after the other, each with status and body, over as many connections as the client makes. In a
/// body `OWN` stands for the key of the last write.
fn server(answers: Vec<(u16, String)>) -> (BucketFiles, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        let mut own = String::new();
        for connection in 0.. {
            if answers.len() == 0 {
                return;
            }
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && reader.read_until(b'\n', &mut head).unwrap() > 0 {}
                if head.is_empty() {
                    break;
                }
                let head = String::from_utf8(head).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                reader.read_exact(&mut body).unwrap();
                let line = head.lines().next().unwrap().to_owned();
                let Some((status, text)) = answers.next() else {
                    return;
                };
                if let Some(written) = line.strip_prefix("PUT /backups/") {
                    own = written.split('?').next().unwrap().to_owned();
                }
                let text = text.replace("OWN", &own);
                sender
                    .send(Received {
                        line,
                        body,
                        connection,
                    })
                    .unwrap();
                let length = text.len();
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{text}");
                stream.write_all(answer.as_bytes()).unwrap();
                if answers.len() == 0 {
                    return;
                }
            }
        }
    });
    let settings = BucketSettings::from(|name| match name {
        "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
        "AWS_ACCESS_KEY_ID" => Some("id".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
        _ => None,
    });
    let location: BucketLocation = "backups/chat".parse().unwrap();
    (BucketFiles::with(&location, settings.unwrap()).unwrap(), requests)
}

fn refused(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>")
}

/// Page of a listing with these keys, which the next one follows if there is a token.
fn page(keys: &[&str], token: Option<&str>) -> String {
    let contents: String = keys
        .iter()
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-30T11:30:00.000Z</LastModified><Size>{}</Size></Contents>",
                key.len()
            )
        })
        .collect();
    let token = token.map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <IsTruncated>{}</IsTruncated>{contents}{}</ListBucketResult>",
        token.is_some(),
        token.unwrap_or_default()
    )
}

#[test]
fn a_write_is_repeated_until_the_storage_takes_it() {
    let (files, requests) = server(vec![
        (503, refused("SlowDown")),
        (500, String::new()),
        (200, String::new()),
    ]);
    files
        .write("chunks/ab/abcd", Bytes::from_static(b"rows"))
        .unwrap();
    files.finish_writes().unwrap();
    for _ in 0..3 {
        let request = requests.recv().unwrap();
        assert!(
            request
                .line
                .starts_with("PUT /backups/chat/chunks/ab/abcd?X-Amz-Algorithm=AWS4-HMAC-SHA256&"),
            "{}",
            request.line
        );
        assert!(request.line.contains("X-Amz-Signature=") && !request.line.contains("secret"));
        assert_eq!((request.body.as_slice(), request.connection), (&b"rows"[..], 0));
    }
}

#[test]
fn a_refused_write_fails_the_backup_with_its_reason() {
    let (files, requests) = server(vec![(403, refused("AccessDenied"))]);
    files.write("BACKUPS", Bytes::from_static(b"rows")).unwrap();
    let failed = files.finish_writes().unwrap_err().to_string();
    assert!(failed.starts_with("s3://backups/chat/BACKUPS: "), "{failed}");
    assert!(failed.contains("403: AccessDenied: no"), "{failed}");
    assert!(!failed.contains("X-Amz"), "{failed}");
    assert_eq!(requests.iter().count(), 1, "a refusal is final");
}

#[test]
fn missing_objects_differ_from_a_missing_bucket() {
    let (files, _requests) = server(vec![
        (404, refused("NoSuchKey")),
        (404, refused("NoSuchBucket")),
        (200, "text".to_owned()),
    ]);
    assert_eq!(files.read("BACKUPS", 9).unwrap(), None);
    let failed = files.read("BACKUPS", 9).unwrap_err().to_string();
    assert!(failed.contains("NoSuchBucket"), "{failed}");
    assert_eq!(files.read("BACKUPS", 9).unwrap().unwrap(), b"text");
}

#[test]
fn objects_longer_than_permitted_are_damaged() {
    let (files, _requests) = server(vec![(200, "x".repeat(10))]);
    let failed = files.read("keys/ab", 9).unwrap_err();
    assert!(matches!(failed, BackupError::Damaged { .. }), "{failed}");
    assert_eq!(
        failed.to_string(),
        "s3://backups/chat/keys/ab: 10 bytes, more than the 9 that are permitted"
    );
}

#[test]
fn listings_go_on_behind_their_first_page() {
    let (files, requests) = server(vec![
        (200, page(&["chat/chunks/ab/abcd"], Some("to/ken"))),
        (200, page(&["chat/chunks/ff/ffff"], None)),
    ]);
    let names: Vec<_> = files.below("chunks").unwrap();
    let expected = ["chunks/ab/abcd", "chunks/ff/ffff"].map(|name| StoredFile {
        name: name.to_owned(),
        bytes: 5 + name.len() as u64,
    });
    assert_eq!(names, expected);
    let lines: Vec<String> = requests.iter().map(|request| request.line).collect();
    assert!(
        lines[0].starts_with("GET /backups/?") || lines[0].starts_with("GET /backups?"),
        "{lines:?}"
    );
    assert!(
        lines[0].contains("prefix=chat%2Fchunks%2F") && !lines[0].contains("continuation"),
        "{lines:?}"
    );
    assert!(lines[1].contains("continuation-token=to%2Fken"), "{lines:?}");
}

#[test]
fn a_foreign_prefix_is_left_alone() {
    let (files, requests) = server(vec![(200, page(&["chat/letter.txt"], None))]);
    let refused = files.locked("BACKUPS").unwrap_err().to_string();
    assert!(
        refused.contains("s3://backups/chat is neither empty"),
        "{refused}"
    );
    assert!(refused.contains("letter.txt"), "{refused}");
    let methods: Vec<bool> = requests
        .iter()
        .map(|request| request.line.starts_with("GET "))
        .collect();
    assert_eq!(methods, [true], "nothing is written");
}

#[test]
fn two_tools_do_not_write_at_once() {
    let (files, requests) = server(vec![
        (200, page(&["chat/BACKUPS"], None)),
        (200, String::new()),
        (200, page(&["OWN", "chat/locks/other"], None)),
        (204, String::new()),
    ]);
    let refused = files.locked("BACKUPS").unwrap_err().to_string();
    assert!(refused.contains("another backup is running"), "{refused}");
    let lines: Vec<String> = requests.iter().map(|request| request.line).collect();
    let own = lines[1].split(['?', ' ']).nth(1).unwrap();
    assert!(own.starts_with("/backups/chat/locks/"), "{lines:?}");
    assert!(lines[3].starts_with(&format!("DELETE {own}?")), "{lines:?}");
}

#[test]
fn the_lock_of_a_tool_that_died_counts_no_more_when_it_is_old() {
    let old = page(&["OWN", "chat/locks/dead"], None);
    // The first date is that of the own lock.
    let old = old.replacen("11:30:00.000Z", "12:00:00.000Z", 1);
    let (files, requests) = server(vec![
        (200, page(&["chat/BACKUPS"], None)),
        (200, String::new()),
        (200, old),
        (204, String::new()),
        (200, page(&["OWN"], None)),
        (200, page(&["chat/locks/thief"], None)),
        (204, String::new()),
    ]);
    let files = files.locked("BACKUPS").unwrap();
    files.finish_writes().unwrap();
    // Removed by somebody else: no manifest may be written any more.
    let refused = files.finish_writes().unwrap_err().to_string();
    assert!(refused.contains("another tool may have written"), "{refused}");
    drop(files);
    let lines: Vec<String> = requests.iter().map(|request| request.line).collect();
    assert!(
        lines[3].starts_with("DELETE /backups/chat/locks/dead?"),
        "{lines:?}"
    );
    assert!(lines[6].starts_with("DELETE /backups/chat/locks/"), "{lines:?}");
}
