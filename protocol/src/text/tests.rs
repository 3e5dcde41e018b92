//! Reading of JSON with one interpretation, and of displayed names and reactions.

use super::*;

#[track_caller]
fn is_refused(text: &str, why: &str) {
    let flaw = scan(text).expect_err(text).to_string();
    assert!(flaw.starts_with(why), "{flaw}: {text}");
}

#[test]
fn brackets_inside_strings_do_not_nest() {
    let text = format!("{{\"a\":\"{}\\\"[\"}}", "[".repeat(1000));
    assert_eq!(scan(&text), Ok(()));
    is_refused(&"[".repeat(DEPTH + 1), "nested too deeply");
    assert_eq!(
        scan(&format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH))),
        Ok(())
    );
    // What is closed without having been opened is no JSON, and no harm.
    assert_eq!(scan("]}]}{}"), Ok(()));
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    assert_eq!(scan(r#"{"a":"\ud83d\ude00"}"#), Ok(()));
    assert_eq!(scan(r#"{"a":"\\ud83d"}"#), Ok(()));
    for text in [
        r#"{"a":"\ud83d"}"#,
        r#"{"a":"\ude00\ud83d"}"#,
        r#"{"a":"\ud83d\\ude00"}"#,
        r#"{"\ud83d":1}"#,
    ] {
        is_refused(text, "an escape is half");
    }
}

#[test]
fn duplicate_keys_are_refused_in_every_spelling_and_depth() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"b":{"a":1},"a":2}"#,
        r#"{"x":[{"b":{"k":1,"l":2,"k":[]}}]}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"😀":1,"\ud83d\ude00":2}"#,
        r#"{"":1,"":2}"#,
    ] {
        is_refused(text, "duplicate key in an object");
    }
    let many: Vec<String> = (0..500).map(|i| format!("\"k{i}\":{i}")).collect();
    assert_eq!(scan(&format!("{{{}}}", many.join(","))), Ok(()));
    is_refused(
        &format!("{{{},\"k77\":0}}", many.join(",")),
        "duplicate key in an object",
    );
    for text in [
        r#"{"a":{"a":{"a":"a"}},"b":["a","a",{"a":1},{"a":1}]}"#,
        r#"[{"a":1},{"a":1}]"#,
        r#"{"a":"b","b":"a","\\a":1,"\\u0061":2}"#,
        "{\"a\":1,\n \"b\":\"a\"}",
    ] {
        assert_eq!(scan(text), Ok(()), "{text}");
    }
    let flaw = scan("{\"a\":1,\n \"a\":2}").unwrap_err().to_string();
    assert_eq!(flaw, "duplicate key in an object, at line 2 column 3");
}

#[test]
fn numbers_are_finite_and_not_longer_than_readers_take() {
    for text in [
        "1e308",
        "-1.5E+308",
        "1e-999",
        "0",
        "12345678901234567890",
        "[1,2]",
        "\"1e999\"",
    ] {
        assert_eq!(scan(text), Ok(()), "{text}");
    }
    assert_eq!(scan(&"9".repeat(64)), Ok(()));
    is_refused(&format!("[{}]", "9".repeat(65)), "a number has more than 64");
    is_refused(&format!("0.{}", "1".repeat(70)), "a number has more than 64");
    for text in ["1e999", "[-1E400]", r#"{"a":1e309}"#] {
        is_refused(text, "a number is not finite");
    }
}

#[test]
fn the_id_is_read_wherever_it_can_be() {
    for (text, expected) in [
        (r#"{"id":7,"t":"x"}"#, Some(7)),
        (r#"{"b":{"id":3,"x":[{"id":4}]}, "id" : -7 }"#, Some(-7)),
        (r#"{"b":"\ud83d","id":7}"#, Some(7)),
        (r#"{"id":7,"b":{"a":1 2}"#, Some(7)),
        (r#"{"b":"\"id\":3","id":7}"#, Some(7)),
        (r#"{"id":7,"id":8}"#, None),
        (r#"{"id":7.5}"#, None),
        (r#"{"id":"7"}"#, None),
        (r#"{"id":7"#, None),
        (r#"{"id":99999999999999999999}"#, None),
        (r#"{"b":{"id":3}}"#, None),
        (r#"["id",7]"#, None),
        ("", None),
    ] {
        assert_eq!(id(text), expected, "{text}");
    }
    let deep = format!(r#"{{"b":{}1{},"id":7}}"#, "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(id(&deep), Some(7));
}

#[test]
fn a_displayed_name_is_visible_and_not_misleading() {
    for name in [
        "Lunch",
        "obéd",
        "الغداء\u{200f}",
        "👨\u{200d}👩\u{200d}👧",
        "❤\u{fe0f}",
        "1\u{fe0f}\u{20e3}",
        "a b",
    ] {
        assert_eq!(visible(name), Ok(()), "{name:?}");
    }
    for name in [
        "a\0b",
        "a\u{1b}[31m",
        "a\nb",
        "\u{202e}gpj.exe",
        "a\u{2066}b",
        "a\u{2028}b",
        "\u{85}",
        "a\u{fff9}b",
    ] {
        assert!(visible(name).unwrap_err().contains("control"), "{name:?}");
    }
    for name in [
        "",
        " ",
        "\u{200b}",
        "\u{200d}\u{fe0f}",
        "\u{3164}",
        "\u{2800} \u{a0}",
        "\u{ad}\u{feff}",
    ] {
        assert!(visible(name).unwrap_err().contains("visible"), "{name:?}");
    }
}

#[test]
fn a_picture_is_on_the_web_or_relative() {
    for url in [
        "https://img.example.org/a.png",
        "HTTP://img.example.org",
        "https://[::1]:8080/a?b=c:d#e",
        "/avatars/ben.png",
        "avatars/a:b.png",
        "?u=ben",
        "ben.png",
        "https://img.example.org/%20ü",
    ] {
        assert!(picture_url(url).is_ok(), "{url}");
    }
    for url in [
        "",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "blob:https://a",
        "ftp://a/b",
        "//evil.example/a.png",
        "http:a",
        "http:///a",
        "https://?a",
        "https://bob:secret@a/b",
        "https://a b",
        " https://a",
        "https://a\\b",
        "\\\\a\\b",
        "https://a/\n",
        "https://a/\u{202e}gnp.a",
        "https://a/\0",
    ] {
        assert!(picture_url(url).is_err(), "{url:?}");
    }
}

#[test]
fn spellings_of_a_reaction_are_one() {
    for (k, expected) in [("❤\u{fe0f}", "❤"), ("❤\u{fe0e}", "❤"), ("❤", "❤"), ("+1", "+1")] {
        assert_eq!(reaction_of(k), expected);
    }
    for k in ["", "\u{fe0f}", "a\0", &"x".repeat(33)] {
        assert!(reaction(k).is_err(), "{k:?}");
    }
}
