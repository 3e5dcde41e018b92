//! Transcripts that are equal in every run.

/// Replaces times, session ids and new conversation ids of a text by their names.
pub fn golden(text: &str) -> String {
    let mut out = text.to_owned();
    for key in ["\"ts\":", "\"time\":"] {
        out = mask(&out, key, |c| c.is_ascii_digit(), "0");
    }
    out = mask(&out, "\"sid\":\"", |c| c.is_ascii_hexdigit(), "SID");
    mask(&out, "\"g_", |c| c.is_ascii_alphanumeric(), "ULID")
}

fn mask(text: &str, before: &str, within: fn(char) -> bool, name: &str) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(before);
        out.push_str(name);
        out.push_str(part.trim_start_matches(within));
    }
    out
}
