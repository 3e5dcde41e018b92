//! Names of targets in object storage: `s3://BUCKET/PREFIX`.

use std::fmt;
use std::str::FromStr;

/// Bucket and prefix of a directory of backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketLocation {
    bucket: String,
    /// Without a slash at either end; may be empty.
    prefix: String,
}

// === impl BucketLocation ===

impl BucketLocation {
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the key of a file.
    pub(super) fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.prefix)
        }
    }
}

impl FromStr for BucketLocation {
    type Err = String;

    /// Parses what follows `s3://`.
    fn from_str(text: &str) -> Result<BucketLocation, String> {
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bucket.is_empty() || !bucket.chars().all(is_name) {
            return Err(format!(
                "{bucket:?} is no name of a bucket: give s3://BUCKET/PREFIX"
            ));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        // A URL resolves such parts, so that the request would name another object.
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
        if !prefix.is_empty() && !prefix.split('/').all(is_part) {
            return Err(format!(
                "the prefix {prefix:?} has an empty part, or `.` or `..` as a part"
            ));
        }
        Ok(BucketLocation {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

impl fmt::Display for BucketLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() {
            return Ok(());
        }
        write!(f, "/{}", self.prefix)
    }
}
