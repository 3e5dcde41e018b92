//! Codecs of the packets that clients send and of the files of backups, for tests with mutated inputs and for fuzzers.

use protocol::Request;

use crate::backup;
use crate::gateway::{cable_codec, mqtt_codec, socketio_codec};

/// Codec of packets that clients send, or of backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Payload of Engine.IO, of several packets.
    EnginePayload,
    /// Messages of Socket.IO, each a packet or an attachment, with the separator of a payload between them.
    SocketPackets,
    /// Frame of a client of ActionCable.
    CableFrame,
    /// Packets of MQTT, the first one a CONNECT.
    MqttStream,
    /// Request of the native protocol.
    NativeRequest,
    /// JSON of the manifest of a backup, behind its checksum.
    BackupManifest,
    /// Response of a node with the rows of a shard.
    BackupFrames,
    /// Rows of a chunk of a backup, behind its checksum.
    BackupRows,
}

// === impl Codec ===

impl Codec {
    pub const ALL: [Codec; 8] = [
        Codec::EnginePayload,
        Codec::SocketPackets,
        Codec::CableFrame,
        Codec::MqttStream,
        Codec::NativeRequest,
        Codec::BackupManifest,
        Codec::BackupFrames,
        Codec::BackupRows,
    ];

    /// Decodes an input, and returns true if it is accepted. Text that is not UTF-8 is refused before.
    #[must_use]
    pub fn decode(self, input: &[u8]) -> bool {
        let text = std::str::from_utf8(input);
        match (self, text) {
            (Codec::MqttStream, _) => mqtt_codec::decode_stream(input),
            (Codec::BackupManifest, _) => backup::decode_manifest(input),
            (Codec::BackupFrames, _) => backup::decode_frames(input),
            (Codec::BackupRows, _) => backup::decode_rows(input),
            (Codec::EnginePayload, Ok(text)) => socketio_codec::decode_payload(text),
            (Codec::SocketPackets, Ok(text)) => socketio_codec::decode_packets(text),
            (Codec::CableFrame, Ok(text)) => cable_codec::decode_frame(text),
            (Codec::NativeRequest, Ok(text)) => Request::decode(text).is_ok(),
            (_, Err(_)) => false,
        }
    }

    /// Checks that what an input decodes to is the same after another encoding and decoding.
    ///
    /// # Panics
    /// If it is not.
    pub fn check(self, input: &[u8]) {
        let text = std::str::from_utf8(input);
        match (self, text) {
            (Codec::MqttStream, _) => mqtt_codec::check_stream(input),
            (Codec::BackupManifest, _) => backup::check_manifest(input),
            (Codec::BackupFrames, _) => backup::check_frames(input),
            (Codec::BackupRows, _) => backup::check_rows(input),
            (Codec::EnginePayload, Ok(text)) => socketio_codec::check_payload(text),
            (Codec::SocketPackets, Ok(text)) => socketio_codec::check_packets(text),
            (Codec::CableFrame, Ok(text)) => cable_codec::check_frame(text),
            (Codec::NativeRequest, Ok(text)) => check_request(text),
            (_, Err(_)) => {}
        }
    }

    /// Returns inputs that are accepted.
    #[must_use]
    pub fn examples(self) -> &'static [&'static [u8]] {
        match self {
            Codec::EnginePayload => &[
                b"4hello",
                b"2probe",
                b"40{\"token\":\"t\"}\x1e3",
                b"42[\"send\",{}]\x1ebAQIDBA==\x1e1",
                b"5\x1e6\x1e0{}",
            ],
            Codec::SocketPackets => &[
                b"0",
                b"0{\"token\":\"t\",\"pid\":\"p\",\"offset\":\"1:2\"}",
                b"0/admin,{}",
                b"1",
                b"27[\"send\",{\"c\":\"g_1\",\"cid\":\"k\",\"b\":{\"text\":\"\xE2\x82\xAC\"}}]",
                b"3/ns,12[1,null]",
                b"52-[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]\x1eone\x1etwo",
                b"61-3[{\"_placeholder\":true,\"num\":0}]\x1ebytes\x1e2[\"y\"]",
            ],
            Codec::CableFrame => &[
                br#"{"command":"subscribe","identifier":"{\"channel\":\"ChatChannel\",\"c\":\"g_1\"}"}"#,
                br#"{"command":"subscribe","identifier":"{\"channel\":\"InboxChannel\"}","history":{"since":5,"streams":{"g_1":{"epoch":"1","offset":7}}}}"#,
                br#"{"command":"unsubscribe","identifier":"x"}"#,
                br#"{"command":"message","identifier":"{\"channel\":\"ChatChannel\",\"to\":\"bob\"}","data":"{\"action\":\"send\",\"cid\":\"k\",\"b\":{}}"}"#,
                br#"{"command":"whisper","identifier":"x","data":{"event":"typing"}}"#,
                br#"{"command":"history","identifier":"x","history":{"since":1}}"#,
                br#"{"command":"presence","identifier":"x"}"#,
                br#"{"command":"pong"}"#,
            ],
            Codec::MqttStream => &[
                b"\x10\x0F\x00\x04MQTT\x04\x02\x00\x1E\x00\x03dev\x30\x05\x00\x01t{}",
                b"\x10\x10\x00\x04MQTT\x05\x02\x00\x1E\x00\x00\x03dev\x32\x14\x00\x08c/g/send\x00\x09\x05\x09\x00\x02ab{}",
                b"\x10\x2A\x00\x04MQTT\x05\xC6\x00\x3C\x05\x11\x00\x00\x0E\x10\x00\x01d\x05\x18\x00\x00\x00\x05\x00\x01t\x00\x02{}\x00\x05token\x00\x01p",
                b"\x10\x0F\x00\x04MQTT\x04\x02\x00\x00\x00\x03dev\x82\x08\x00\x01\x00\x03u/m\x01\xA2\x07\x00\x02\x00\x03u/m\xC0\x00\x40\x02\x00\x01\xE0\x00",
                b"\x82\x00\x01\x00\x00\x01t\x01",
                b"\x3A\x00\x01t\x00\x09\x05\x23\x00\x03\x01\x01{}",
                b"\xE0\x04\x05\x11\x00\x00\x00\x07",
            ],
            Codec::NativeRequest => &[
                br#"{"t":"auth","token":"t","device":"d","instance":"i","resume":{"sid":"1ab","n":412}}"#,
                br#"{"t":"send","id":7,"to":"bob","cid":"k","b":{"text":"hi"},"mentions":["eve"],"echo":false}"#,
                br#"{"t":"create","id":9,"kind":"group","cid":"k","members":["bob","carol"],"title":"Lunch"}"#,
                br#"{"t":"sync","id":12,"have":[["g_01",7],["d_cqne",3]],"cursor":"g_01"}"#,
                br#"{"t":"hist","c":"g_01","before":9,"limit":20}"#,
                br#"{"t":"react","c":"g_01","of":5,"cid":"k","k":"+1","on":false,"who":"bob"}"#,
                br#"{"t":"watch","users":["bob","carol"]}"#,
                br#"{"t":"hb","n":412}"#,
            ],
            Codec::BackupManifest => &[
                br#"{"format":1,"cluster":"00000000000000ff","began_ms":4,"ended_ms":5,"includes_keys":false,"shards":[{"shard":0,"taken_ms":4,"index":9,"term":2,"feature_level":1,"digest":"ffffffffffffffffffffffffffffffff","rows":{"totals":{"rows":7,"digest":"00000000000000000000000000000abc"},"chunks":[{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","bytes":300}]}}]}"#,
                br#"{"format":1,"cluster":"0123456789abcdef","began_ms":0,"ended_ms":0,"includes_keys":true,"shards":[{"shard":0,"taken_ms":0,"index":1,"term":1,"feature_level":1,"digest":"00000000000000000000000000000000","rows":{"totals":{"rows":0,"digest":"00000000000000000000000000000000"},"chunks":[]},"keys":{"totals":{"rows":0,"digest":"00000000000000000000000000000000"},"chunks":[]}}]}"#,
            ],
            Codec::BackupFrames => &[
                b"\x02\x00\x00\x00\x04rows\x03\x00\x00\x00\x00",
                b"\x01\x00\x00\x00\x84{\"cluster\":\"00000000000000ff\",\"shards\":4,\"shard\":3,\"index\":7,\"term\":2,\"feature_level\":1,\"digest\":\"00000000000000000000000000000009\"}",
                b"\x04\x00\x00\x00\x4b{\"rows\":{\"rows\":0,\"digest\":\"00000000000000000000000000000000\"},\"keys\":null}",
            ],
            Codec::BackupRows => &[
                b"\x03\x00\x00\x00\x03\x00\x00\x00\x05keyvalue",
                b"\x02\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x00k",
            ],
        }
    }

    /// Returns parts of inputs that reach limits and rare branches.
    #[must_use]
    pub fn tokens(self) -> &'static [&'static [u8]] {
        match self {
            Codec::MqttStream => &[
                b"\x00",
                b"\xFF\xFF",
                b"\xFF\xFF\xFF\x7F",
                b"\xFF\xFF\xFF\xFF",
                b"\x80\x80\x80\x01",
                b"\x26\x00\x01a\x00\x01b",
                b"\x09\x00\x02ab",
                b"\x08\x00\x01r",
                b"\x23\x00\x00",
                b"\xED\xA0\x80",
                b"#",
                b"+",
            ],
            Codec::BackupFrames | Codec::BackupRows => &[
                b"\x00\x00\x00\x00",
                b"\xFF\xFF\xFF\xFF",
                b"\x01\x00\x00\x00",
                b"\x02\x00\x00\x00\x01x",
                b"\x03\x00\x00\x00\x01\x00\x00\x00\x00k",
                b"\x1F",
            ],
            _ => &[
                b"\x1e",
                b"\"",
                b"\\",
                b"\\u0000",
                b"\\ud800",
                b"[[[[[[[[",
                b"{\"a\":",
                b"]",
                b"}",
                b",",
                b"/",
                b"-",
                b"b",
                b"5",
                b"18446744073709551616",
                b"-1",
                b"1e400",
                b"null",
                b"true",
                b"\"id\":1,",
                b"\"cid\":\"k\",",
                b"\xE2\x80\xAE",
                b"\xC2\x85",
            ],
        }
    }
}

fn check_request(text: &str) {
    if let Ok(Some(request)) = Request::decode(text) {
        let again = Request::decode(&request.encode());
        assert_eq!(again, Ok(Some(request)));
    }
}
