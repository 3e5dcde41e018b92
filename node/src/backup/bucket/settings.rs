//! Settings of the object storage, from the environment variables that its other tools read.

use rusty_s3::{Credentials, UrlStyle};

use crate::backup::BackupError;

/// Region of an endpoint that has none of its own.
const REGION: &str = "us-east-1";

/// Settings of the object storage.
pub(super) struct BucketSettings {
    /// Address of the server: `https://HOST` or `http://HOST:PORT`.
    pub(super) endpoint: String,
    pub(super) style: UrlStyle,
    pub(super) region: String,
    pub(super) credentials: Credentials,
}

// === impl BucketSettings ===

impl BucketSettings {
    /// Reads the settings, each by the name of its variable. An empty variable counts as none.
    ///
    /// # Errors
    /// The credentials are missing.
    pub(super) fn from(variable: impl Fn(&str) -> Option<String>) -> Result<BucketSettings, BackupError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (Some(key), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) else {
            return Err(BackupError::Refused(
                "s3:// needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned(),
            ));
        };
        let credentials = match set("AWS_SESSION_TOKEN") {
            Some(token) => Credentials::new_with_token(key, secret, token),
            None => Credentials::new(key, secret),
        };
        let region = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_else(|| REGION.to_owned());
        Ok(
            match set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL")) {
                // A server that is reached by an address cannot have the bucket in its host name.
                Some(endpoint) => BucketSettings {
                    endpoint,
                    style: UrlStyle::Path,
                    region,
                    credentials,
                },
                None => BucketSettings {
                    endpoint: format!("https://s3.{region}.amazonaws.com"),
                    style: UrlStyle::VirtualHost,
                    region,
                    credentials,
                },
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<BucketSettings, BackupError> {
        BucketSettings::from(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    #[test]
    fn credentials_come_from_the_environment_only() {
        for variables in [&[][..], &KEYS[..1], &[KEYS[0], ("AWS_SECRET_ACCESS_KEY", "")]] {
            let refused = settings(variables).err().unwrap().to_string();
            assert!(refused.contains("AWS_SECRET_ACCESS_KEY"), "{refused}");
        }
        let found = settings(&KEYS).unwrap();
        assert_eq!((found.credentials.key(), found.credentials.token()), ("id", None));
        let found = settings(&[KEYS[0], KEYS[1], ("AWS_SESSION_TOKEN", "t")]).unwrap();
        assert_eq!(found.credentials.token(), Some("t"));
        assert!(!format!("{:?}", found.credentials).contains("secret"));
    }

    #[test]
    fn endpoint_follows_the_region_unless_it_is_set() {
        let found = settings(&[KEYS[0], KEYS[1], ("AWS_REGION", "eu-west-1")]).unwrap();
        assert_eq!(found.endpoint, "https://s3.eu-west-1.amazonaws.com");
        assert!(matches!(found.style, UrlStyle::VirtualHost));
        let endpoint = ("AWS_ENDPOINT_URL", "http://10.0.0.9:9000");
        let found = settings(&[KEYS[0], KEYS[1], endpoint]).unwrap();
        assert_eq!(
            (found.endpoint.as_str(), found.region.as_str()),
            (endpoint.1, REGION)
        );
        assert!(matches!(found.style, UrlStyle::Path));
    }
}
