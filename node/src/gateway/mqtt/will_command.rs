//! Will of a CONNECT as a command. Pure.

use std::time::Duration;

use protocol::Request;

use super::connect_plan::{ConnectRefusal, refusal};
use super::packet::{QualityOfService, ReasonCode, WillMessage};
use super::publish_topic::PublishTopic;
use super::published_command::PublishedCommand;

/// Command that is executed when the connection ends without a DISCONNECT.
#[derive(Clone, Debug)]
pub(super) struct WillCommand {
    pub(super) request: Request,
    pub(super) delay: Duration,
}

// === impl WillCommand ===

impl WillCommand {
    /// Reads the will of a client. The command itself is checked when it is executed.
    pub(super) fn of(will: &WillMessage, is_v5: bool) -> Result<WillCommand, ConnectRefusal> {
        if is_v5 && will.is_retained {
            return Err(refusal(ReasonCode::RetainNotSupported, "no message is retained"));
        }
        if is_v5 && will.quality == QualityOfService::ExactlyOnce {
            return Err(refusal(
                ReasonCode::QosNotSupported,
                "the maximum quality of service is 1",
            ));
        }
        let topic = PublishTopic::parse(&will.topic).filter(PublishTopic::permits_will);
        let topic = topic.ok_or_else(|| {
            let words = "a will is published to c/{c}/send, u/{u}/send or c/{c}/typing";
            refusal(ReasonCode::TopicNameInvalid, words)
        })?;
        let correlation = will.properties.correlation_data.as_ref();
        let command = PublishedCommand::read(&topic, &will.payload, correlation, 0);
        let request = command
            .request
            .map_err(|error| refusal(ReasonCode::PayloadFormatInvalid, error.message))?;
        Ok(WillCommand {
            // No connection is left that could take an answer.
            request: Request { id: None, ..request },
            delay: Duration::from_secs(u64::from(will.properties.will_delay.unwrap_or(0))),
        })
    }
}
