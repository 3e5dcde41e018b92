//! Bytes of the client: a stream of packets, of which the first is CONNECT.

use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use protocol::CloseCode;

use super::connect_plan::{ConnectPlan, ConnectRefusal, granted_expiry, refused_admission};
use super::connection::MqttConnection;
use super::last_will::LastWill;
use super::packet::{
    ClientPacket, ConnectPacket, DisconnectPacket, FixedHeader, MqttVersion, PacketError, ReasonCode,
    ServerPackets,
};
use super::packet_stream::PacketStream;
use super::translator::{MqttTranslator, PacketEffect};
use crate::gateway::tcp::StreamHandler;
use crate::gateway::websocket::{Meter, SessionOver};
use crate::session::messages::Disconnect;
use crate::session::{
    AuthenticatedClient, CLOSE_TIMEOUT, ClientCredentials, ConnectionHandle, ResumePoint, SessionHandle,
    WorkerContext, admit_client,
};
use crate::telemetry::metrics::GatewayLabels;

/// Name of this gateway in the metrics.
const LABELS: GatewayLabels = GatewayLabels { gateway: "mqtt" };

/// Packets of one client, on their way to its session.
pub(in crate::gateway) struct MqttHandler {
    worker: Rc<WorkerContext>,
    link: Rc<ConnectionHandle>,
    connection: Rc<MqttConnection>,
    stream: PacketStream,
    /// CONNECT that waits for its evaluation.
    connect: Option<Box<ConnectPacket>>,
    /// Session with the version of its client's protocol.
    session: Option<(SessionHandle, MqttVersion)>,
    will: Option<LastWill>,
    /// Packet with which the client ended the connection.
    disconnect: Option<DisconnectPacket>,
}

// === impl MqttHandler ===

impl MqttHandler {
    pub(super) fn new(
        worker: Rc<WorkerContext>,
        link: Rc<ConnectionHandle>,
        connection: Rc<MqttConnection>,
    ) -> MqttHandler {
        MqttHandler {
            stream: PacketStream::new(worker.config.max_frame()),
            worker,
            link,
            connection,
            connect: None,
            session: None,
            will: None,
            disconnect: None,
        }
    }

    fn read_connect(&mut self) -> Result<(), CloseCode> {
        match self.stream.next_connect() {
            Ok(connect) => {
                self.connect = connect.map(Box::new);
                Ok(())
            }
            // Nothing is known of the client, so nothing but an unsupported version has an answer.
            Err(PacketError(reason)) => {
                let words = "the versions 3.1.1 and 5 are supported";
                if reason == ReasonCode::UnsupportedVersion {
                    self.answer_refusal(MqttVersion::V3, reason, words);
                }
                Err(close_code(reason))
            }
        }
    }

    /// Handles the complete packets of the input. `meter`: limits of the connection.
    fn read_packets(&mut self, version: MqttVersion, meter: Option<&mut Meter>) -> Result<(), CloseCode> {
        let mut out = BytesMut::new();
        let read = self.translate_packets(version, meter, &mut out);
        if !out.is_empty() {
            self.link.outbox(|outbox| outbox.answer(out.freeze()));
        }
        self.stream.release();
        let confirmed = self.connection.translate(MqttTranslator::take_confirmation);
        if let (Some(n), Some((session, _))) = (confirmed.flatten(), &self.session) {
            session.confirm(n);
        }
        read.inspect_err(|code| {
            let reason = reason_of(*code);
            self.connection.translate(|translator| translator.fail(reason));
        })
    }

    fn translate_packets(
        &mut self,
        version: MqttVersion,
        mut meter: Option<&mut Meter>,
        out: &mut BytesMut,
    ) -> Result<(), CloseCode> {
        loop {
            let effect = match self.stream.next_packet() {
                Ok(None) => return Ok(()),
                Ok(Some((header, packet))) => self.translate_packet(version, header, &packet, out),
                Err(error) => Err(error),
            };
            let (effect, bytes) = effect.map_err(|PacketError(reason)| self.fail(reason))?;
            if effect == PacketEffect::Ignored {
                let ignored = &self.worker.metrics.gateway_frames_ignored;
                ignored.get_or_create(&LABELS).inc();
            }
            let now = Instant::now();
            match (effect, meter.as_deref_mut()) {
                (PacketEffect::Request, Some(meter)) => meter.message(bytes, now),
                (PacketEffect::Answered | PacketEffect::Ignored, Some(meter)) => meter
                    .ignored(bytes, now)
                    .map_err(|violation| violation.close_code())?,
                // Bounded by the events that were sent.
                (PacketEffect::Acknowledged { was_full: true }, _) => self.link.wake_writer(),
                (PacketEffect::Disconnect(packet), _) => {
                    self.disconnect = Some(packet);
                    return Err(CloseCode::Normal);
                }
                // Bounded by one read of the socket.
                (PacketEffect::Request | PacketEffect::Answered | PacketEffect::Ignored, None)
                | (PacketEffect::Acknowledged { was_full: false }, _) => {}
            }
        }
    }

    fn translate_packet(
        &self,
        version: MqttVersion,
        header: FixedHeader,
        packet: &Bytes,
        out: &mut BytesMut,
    ) -> Result<(PacketEffect, usize), PacketError> {
        let decoded = ClientPacket::decode(version, header, packet)?;
        let translated = self
            .connection
            .translate(|translator| translator.on_packet(decoded, header.total, out));
        Ok((translated.unwrap_or(Ok(PacketEffect::Ignored))?, header.total))
    }

    /// Records the reason for the end of the connection.
    fn fail(&self, reason: ReasonCode) -> CloseCode {
        tracing::debug!(?reason, "a packet of an MQTT client was refused");
        self.connection.translate(|translator| translator.fail(reason));
        close_code(reason)
    }

    /// Evaluates CONNECT and opens the session. Resolves when the client may send further packets.
    async fn open(&mut self, connect: ConnectPacket) -> Result<(), SessionOver> {
        let version = connect.version;
        let (plan, mut client) = match self.admit(connect).await {
            Ok(admitted) => admitted,
            Err(ConnectRefusal { reason, words }) => {
                self.answer_refusal(version, reason, &words);
                self.close(close_code(reason));
                return Err(SessionOver);
            }
        };
        client.resume = Some(if plan.is_clean {
            ResumePoint::Clean
        } else {
            ResumePoint::Device { from: None }
        });
        let filters = self.worker.config.limits.subscriptions_per_session;
        let translator = MqttTranslator::new(&plan, client.identity.user.clone(), filters);
        self.connection.begin(translator, &self.link);
        let session = SessionHandle::open(
            self.worker.clone(),
            self.link.clone(),
            plan.policy(),
            Some(client),
        );
        self.worker
            .metrics
            .gateway_connections
            .get_or_create(&LABELS)
            .inc();
        self.session = Some((session.clone(), version));
        tokio::select! {
            () = self.connection.connected() => {}
            () = self.link.closing() => return Err(SessionOver),
        }
        // A client without a session has no will.
        let longest = plan.longest_will_delay(&self.worker.config);
        self.will = plan.will.map(|will| LastWill::start(session, will, longest));
        Ok(())
    }

    /// Handles the packets that came right behind CONNECT.
    async fn read_early(&mut self) -> Result<(), SessionOver> {
        let Some((_, version)) = self.session else {
            return Ok(());
        };
        if let Err(code) = self.read_packets(version, None) {
            self.send().await?;
            self.end_session(Disconnect::Broken(code)).await;
            return Err(SessionOver);
        }
        Ok(())
    }

    /// Hands the requests to the session.
    async fn send(&mut self) -> Result<(), SessionOver> {
        let Some((session, _)) = &self.session else {
            return Ok(());
        };
        let requests = self.connection.translate(MqttTranslator::take_requests);
        let requests = requests.filter(|requests| !requests.is_empty());
        if let Some(requests) = requests {
            session.dispatch(requests).await.map_err(|_| SessionOver)?;
        }
        Ok(())
    }

    /// Ends the connection from the client's side. The session stays resumable for its expiry, whatever the client sent.
    async fn end_session(&mut self, disconnect: Disconnect) {
        let Some((session, _)) = self.session.clone() else {
            let code = match disconnect {
                Disconnect::Broken(code) => code,
                Disconnect::Lost | Disconnect::CloseFrame(_) => CloseCode::Normal,
            };
            return self.close(code);
        };
        // Before the session is detached, which the next connection may resume at once.
        self.connection.translate(MqttTranslator::on_end);
        let asked = self.disconnect.and_then(|packet| packet.session_expiry);
        let new_expiry = asked.map(|expiry| granted_expiry(expiry, &self.worker.config));
        if let Some(expiry) = new_expiry {
            // An error means that the session has ended already.
            let _over = session.set_expiry(expiry).await;
        }
        if let Some(will) = self.will.take() {
            if self.disconnect.is_some_and(|packet| packet.discards_will) {
                will.discard();
            } else {
                will.execute_now(new_expiry).await;
            }
        }
        let disconnect = match disconnect {
            Disconnect::Broken(code) => Disconnect::CloseFrame(Some(code.code())),
            other => other,
        };
        session.disconnect(disconnect).await;
    }

    /// Checks CONNECT and its token.
    async fn admit(
        &self,
        connect: ConnectPacket,
    ) -> Result<(ConnectPlan, AuthenticatedClient), ConnectRefusal> {
        let plan = ConnectPlan::of(connect, &self.worker.config)?;
        let credentials = ClientCredentials {
            token: plan.token.clone(),
            device: Some(plan.device.clone()),
            instance: None,
        };
        let admitted = admit_client(&self.worker, credentials).await;
        let client = admitted.map_err(|refused| refused_admission(refused.code, &refused.msg))?;
        plan.check_user(&client.identity.user)?;
        Ok((plan, client))
    }

    fn answer_refusal(&self, version: MqttVersion, reason: ReasonCode, words: &str) {
        let packets = ServerPackets {
            version,
            max_size: usize::MAX,
            has_problem_information: true,
        };
        let mut out = BytesMut::new();
        packets.refusal(&mut out, reason, words);
        if !out.is_empty() {
            self.link.outbox(|outbox| outbox.answer(out.freeze()));
        }
    }

    /// Closes a connection without a session.
    fn close(&self, code: CloseCode) {
        self.link.close(Some(code.code()), None, false, CLOSE_TIMEOUT);
    }
}

/// Returns the close code of a connection that ends with this reason.
fn close_code(reason: ReasonCode) -> CloseCode {
    match reason {
        ReasonCode::PacketTooLarge => CloseCode::TooLarge,
        ReasonCode::UnsupportedVersion => CloseCode::Version,
        ReasonCode::BadCredentials | ReasonCode::NotAuthorized => CloseCode::AuthFailed,
        ReasonCode::ServerBusy | ReasonCode::ServerUnavailable | ReasonCode::ConnectionRateExceeded => {
            CloseCode::Overloaded
        }
        _ => CloseCode::Protocol,
    }
}

/// Returns the reason for the end of a connection by the limits of its reader.
fn reason_of(code: CloseCode) -> ReasonCode {
    match code {
        CloseCode::RateAbuse => ReasonCode::MessageRateTooHigh,
        _ => ReasonCode::ProtocolError,
    }
}

impl Drop for MqttHandler {
    fn drop(&mut self) {
        if self.session.is_some() {
            self.worker
                .metrics
                .gateway_connections
                .get_or_create(&LABELS)
                .dec();
        }
    }
}

impl StreamHandler for MqttHandler {
    fn receive(&mut self, bytes: &[u8], meter: &mut Meter) -> Result<(), CloseCode> {
        self.stream.push(bytes);
        match self.session.as_ref().map(|(_, version)| *version) {
            None if self.connect.is_some() => Ok(()),
            None => self.read_connect(),
            Some(version) => self.read_packets(version, Some(meter)),
        }
    }

    fn is_pending(&self) -> bool {
        self.connect.is_some() || self.connection.has_requests() || self.link.outbox(|outbox| outbox.behind())
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        if let Some(connect) = self.connect.take() {
            self.open(*connect).await?;
            self.read_early().await?;
        }
        self.send().await?;
        // Packets without a command have no other limit: their answers wait until the client reads.
        tokio::select! {
            () = self.link.room() => Ok(()),
            () = self.link.closing() => Err(SessionOver),
        }
    }

    async fn requested(&self) {
        self.connection.requested().await;
    }

    async fn end(mut self, disconnect: Disconnect) {
        self.end_session(disconnect).await;
    }
}
