//! Overviews as they come: from the stream of a node, or else by asking once a second.

use std::time::{Duration, Instant};

use clap::Args;

use super::client::{AdminClient, EventReader};
use super::failure::Failure;
use super::view::OverviewView;

/// Path of the stream.
const STREAM: &str = "/v1/admin/stream";
/// Interval of the overviews without a stream, and pause while no node answers.
const EVERY: Duration = Duration::from_secs(1);

/// Arguments of commands that go on until they are interrupted.
#[derive(Args)]
pub(super) struct LiveArgs {
    /// Ends after this time; without it, at Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
}

/// Source of overviews, one after the other.
pub(super) struct LiveOverview<'a> {
    client: &'a AdminClient,
    stream: Option<EventReader>,
    /// True if the nodes have no stream for this command: an older version, or too many followers.
    polls: bool,
    last: Option<Instant>,
    end: Option<Instant>,
}

// === impl LiveOverview ===

impl<'a> LiveOverview<'a> {
    pub(super) fn new(client: &'a AdminClient, args: &LiveArgs) -> LiveOverview<'a> {
        LiveOverview {
            client,
            stream: None,
            polls: false,
            last: None,
            end: args.time.map(|time| Instant::now() + time),
        }
    }

    /// Waits for the next overview; `None` at the end of the time, or at Ctrl-C.
    pub(super) async fn next(&mut self) -> Result<Option<OverviewView>, Failure> {
        let end = self.end;
        let over = async {
            match end {
                Some(end) => tokio::time::sleep_until(end.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            overview = self.fetch() => overview.map(Some),
            () = over => Ok(None),
            _ = tokio::signal::ctrl_c() => Ok(None),
        }
    }

    async fn fetch(&mut self) -> Result<OverviewView, Failure> {
        // Cleared while it is read: an interrupted read leaves a stream that is of no use.
        if let Some(mut stream) = self.stream.take() {
            if let Some(overview) = stream.next().await {
                self.stream = Some(stream);
                return Ok(overview);
            }
            // The node has ended: another one may have a stream.
            self.last = None;
        }
        self.pause().await;
        if !self.polls {
            match self.client.follow(STREAM).await {
                Ok(mut stream) => {
                    if let Some(overview) = stream.next().await {
                        self.stream = Some(stream);
                        return Ok(overview);
                    }
                }
                Err(failure @ (Failure::NotAllowed(_) | Failure::Unreachable(_))) => return Err(failure),
                Err(_) => self.polls = true,
            }
        }
        self.client.get(OverviewView::PATH).await
    }

    /// Waits until a second has passed since the last request.
    async fn pause(&mut self) {
        if let Some(last) = self.last {
            tokio::time::sleep_until((last + EVERY).into()).await;
        }
        self.last = Some(Instant::now());
    }
}
