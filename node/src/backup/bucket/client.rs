//! Requests to an object storage that speaks S3, signed by `rusty_s3`, with a bounded number of attempts.
//!
//! Every request may be repeated: an object is written whole or not at all, and removing a missing one succeeds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, S3Action};

use super::connections::{Connections, ExchangeError, WholeResponse};
use super::location::BucketLocation;
use super::settings::BucketSettings;
use crate::backup::BackupError;
use crate::tls::OutgoingTls;

/// Time limit of one attempt, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts for each request, the first one included.
const ATTEMPTS: u32 = 6;
/// Pause before the second attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(250);
/// Time for which a signature is valid: that of all attempts, and of a clock that is wrong by some minutes.
const SIGNED_FOR: Duration = Duration::from_secs(900);
/// Maximum bytes of a page of a listing, of at most 1,000 objects.
const PAGE_BYTES: u64 = 8 << 20;

/// Client of one prefix of a bucket.
pub(super) struct BucketClient {
    location: BucketLocation,
    bucket: Bucket,
    credentials: Credentials,
    connections: Connections,
    /// Value of the header `Host`.
    host: String,
}

/// Object of a listing.
pub(super) struct ListedObject {
    /// Name below the prefix.
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Time of the last write by the clock of the server, as RFC 3339.
    pub(super) modified: String,
}

/// Objects with a common beginning of their names.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) files: Vec<ListedObject>,
    /// Names of the folders, if the listing has only what is directly there.
    pub(super) folders: Vec<String>,
}

// === impl BucketClient ===

impl BucketClient {
    pub(super) fn new(
        location: &BucketLocation,
        settings: BucketSettings,
    ) -> Result<BucketClient, BackupError> {
        let refused = |reason: String| BackupError::Refused(format!("{}: {reason}", settings.endpoint));
        let endpoint = parsed(&settings.endpoint).map_err(refused)?;
        let bucket = Bucket::new(
            endpoint,
            settings.style,
            location.bucket().to_owned(),
            settings.region.clone(),
        )
        .map_err(|error| refused(error.to_string()))?;
        let url = bucket.base_url();
        let is_secure = url.scheme() == "https";
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(refused("the address names no host".to_owned()));
        };
        let tls = is_secure.then(|| OutgoingTls::trusting("")).transpose();
        let connections = Connections::new(host, port, tls.map_err(refused)?);
        let host = url
            .port()
            .map_or(host.to_owned(), |port| format!("{host}:{port}"));
        Ok(BucketClient {
            location: location.clone(),
            credentials: settings.credentials,
            connections,
            host,
            bucket,
        })
    }

    /// Returns the address of a file, for people.
    pub(super) fn describe(&self, name: &str) -> String {
        match name {
            "" => self.location.to_string(),
            name => format!("{}/{name}", self.location),
        }
    }

    /// Returns the error of a request for a file.
    pub(super) fn failed(&self, name: &str, reason: String) -> BackupError {
        BackupError::Bucket {
            object: self.describe(name),
            reason,
        }
    }

    /// Reads an object of at most `limit` bytes; `None` if there is none.
    pub(super) async fn get(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, BackupError> {
        let key = self.location.key(name);
        let action = self.bucket.get_object(Some(&self.credentials), &key);
        let response = self.ask(name, Method::GET, &action, Bytes::new(), limit).await?;
        match response.status {
            StatusCode::NOT_FOUND if !is_without_bucket(&response.body) => Ok(None),
            _ => Ok(Some(self.accepted(name, response)?.body)),
        }
    }

    /// Writes an object, in place of an older one.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), BackupError> {
        let key = self.location.key(name);
        let action = self.bucket.put_object(Some(&self.credentials), &key);
        let response = self.ask(name, Method::PUT, &action, bytes, PAGE_BYTES).await?;
        self.accepted(name, response).map(drop)
    }

    /// Removes an object, if there is one.
    pub(super) async fn delete(&self, name: &str) -> Result<(), BackupError> {
        let key = self.location.key(name);
        let action = self.bucket.delete_object(Some(&self.credentials), &key);
        let response = self
            .ask(name, Method::DELETE, &action, Bytes::new(), PAGE_BYTES)
            .await?;
        match response.status {
            StatusCode::NOT_FOUND if !is_without_bucket(&response.body) => Ok(()),
            _ => self.accepted(name, response).map(drop),
        }
    }

    /// Lists the objects whose names begin with `folder`, all of them or only what is directly there.
    pub(super) async fn list(&self, folder: &str, is_deep: bool) -> Result<Listing, BackupError> {
        let prefix = self.location.key(folder);
        // The key of the empty name ends with a slash, except in the bucket itself.
        let own = self.location.key("").len();
        let mut listing = Listing::default();
        let mut token: Option<String> = None;
        loop {
            let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
            action.with_prefix(prefix.as_str());
            if !is_deep {
                action.with_delimiter("/");
            }
            if let Some(token) = token.take() {
                action.with_continuation_token(token);
            }
            let response = self
                .ask(folder, Method::GET, &action, Bytes::new(), PAGE_BYTES)
                .await?;
            let response = self.accepted(folder, response)?;
            let page = std::str::from_utf8(&response.body).map_err(|error| error.to_string());
            let page =
                page.and_then(|page| ListObjectsV2::parse_response(page).map_err(|error| error.to_string()));
            let page =
                page.map_err(|error| self.failed(folder, format!("no listing of a bucket: {error}")))?;
            let names = page.contents.into_iter().filter_map(|object| {
                Some(ListedObject {
                    name: object.key.get(own..)?.to_owned(),
                    bytes: object.size.unwrap_or_default(),
                    modified: object.last_modified.unwrap_or_default(),
                })
            });
            listing.files.extend(names);
            let folders = page.common_prefixes.iter();
            let folders = folders.filter_map(|folder| Some(folder.prefix.get(own..)?.trim_end_matches('/')));
            listing.folders.extend(folders.map(str::to_owned));
            match page.next_continuation_token {
                Some(next) => token = Some(next),
                None => return Ok(listing),
            }
        }
    }

    /// Sends a request until there is a response that a repeat would not change.
    async fn ask<'a>(
        &self,
        name: &str,
        method: Method,
        action: &(impl S3Action<'a> + Sync),
        body: Bytes,
        limit: u64,
    ) -> Result<WholeResponse, BackupError> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let url = action.sign(SIGNED_FOR);
            let path = match url.query() {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            };
            let request = Request::builder()
                .method(&method)
                .uri(path)
                .header(HOST, &self.host)
                .header(USER_AGENT, concat!("rookery/", env!("CARGO_PKG_VERSION")))
                .body(Full::new(body.clone()))
                .map_err(|error| self.failed(name, error.to_string()))?;
            let exchange = self.connections.exchange(request, limit);
            let reason = match tokio::time::timeout(TIMEOUT, exchange).await {
                Ok(Ok(response)) if !is_passing(response.status) => return Ok(response),
                Ok(Ok(response)) => refusal(&response),
                Ok(Err(ExchangeError::TooLong(bytes))) => {
                    return Err(BackupError::too_long(self.describe(name).as_ref(), bytes, limit));
                }
                Ok(Err(ExchangeError::Passing(reason))) => reason,
                Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
            };
            if attempt == ATTEMPTS {
                return Err(self.failed(name, format!("{reason}, {ATTEMPTS} times")));
            }
            // Half of it is random, so that requests that failed together are not repeated together.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            (attempt, pause) = (attempt + 1, pause * 2);
        }
    }

    fn accepted(&self, name: &str, response: WholeResponse) -> Result<WholeResponse, BackupError> {
        if response.status.is_success() {
            return Ok(response);
        }
        Err(self.failed(name, refusal(&response)))
    }
}

/// Parses the address of a server, as the type that the client of S3 wants.
fn parsed<U: FromStr<Err: fmt::Display>>(address: &str) -> Result<U, String> {
    address
        .parse()
        .map_err(|error| format!("no address of a server: {error}"))
}

/// Returns true for statuses that may change on a repeat: 408, 429 and 5xx.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error()
}

/// Returns true if it is the bucket that does not exist.
fn is_without_bucket(body: &[u8]) -> bool {
    element(&String::from_utf8_lossy(body), "Code") == Some("NoSuchBucket")
}

/// Returns the reason of a refusal, as text for people.
fn refusal(response: &WholeResponse) -> String {
    let body = String::from_utf8_lossy(&response.body);
    let mut text = format!("the object storage answered {}", response.status.as_u16());
    for name in ["Code", "Message"] {
        if let Some(found) = element(&body, name) {
            text.push_str(": ");
            text.push_str(
                &found
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(200)
                    .collect::<String>(),
            );
        }
    }
    if response.status.is_redirection() {
        text.push_str("; AWS_REGION must name the region of the bucket");
    }
    text
}

/// Returns the text of the first element with this name, for messages only.
fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text)
}
