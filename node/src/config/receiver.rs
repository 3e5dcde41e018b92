//! Address and key of a webhook's receiver, as both sections with a webhook have them.

use data_encoding::BASE64_NOPAD;
use hyper::Uri;

/// Error text for invalid URLs.
const LIKE: &str = "must be an address like https://push.example.org/told or http://127.0.0.1:9000/codes";

/// Permitted length of a key in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Parses and checks the URL of a receiver.
///
/// # Errors
/// A text that is no `http` or `https` URL with a host.
pub fn webhook_url(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url.parse().map_err(|_| LIKE)?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err(LIKE),
    }
}

/// Decodes a key: base64 of 24 to 64 bytes, with or without the prefix `whsec_`.
///
/// # Errors
/// Text that is no base64, or a key of another length.
pub fn signing_key(text: &str) -> Result<Vec<u8>, &'static str> {
    // Padding is optional: tools print both forms.
    let digits = text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=');
    let key = BASE64_NOPAD
        .decode(digits.as_bytes())
        .map_err(|_| "must be base64, as `openssl rand -base64 32` prints it")?;
    if !KEY_BYTES.contains(&key.len()) {
        return Err("must be base64 of 24 to 64 bytes");
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_address_is_an_error() {
        assert!(webhook_url("http://127.0.0.1:9000/codes").is_ok());
        assert!(webhook_url("http://[::1]:9000").is_ok());
        assert!(webhook_url("https://sms.example.org/").is_ok());
        for bad in ["", "127.0.0.1:9000", "/codes", "ftp://x/"] {
            assert!(webhook_url(bad).is_err(), "{bad}");
        }
    }
}
