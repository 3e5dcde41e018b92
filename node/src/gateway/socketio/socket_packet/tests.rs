use proptest::prelude::*;
use serde_json::json;

use super::*;

fn text(packet: &SocketPacket<'_>) -> String {
    let mut out = BytesMut::new();
    packet.write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

fn packet<'a>(kind: PacketKind, ack: Option<u64>, data: Option<&'a str>) -> SocketPacket<'a> {
    SocketPacket {
        kind,
        attachments: 0,
        namespace: Cow::Borrowed(MAIN_NAMESPACE),
        ack,
        data: data.map(Cow::Borrowed),
    }
}

/// Golden text: the examples of the protocol.
#[test]
fn packets_are_frozen() {
    let admin = |packet: SocketPacket<'static>| SocketPacket {
        namespace: Cow::Borrowed("/admin"),
        ..packet
    };
    let with = |attachments, packet: SocketPacket<'static>| SocketPacket {
        attachments,
        ..packet
    };
    for (expected, written) in [
        (packet(PacketKind::Connect, None, None), "0"),
        (
            packet(PacketKind::Connect, None, Some(r#"{"token":"x"}"#)),
            r#"0{"token":"x"}"#,
        ),
        (
            admin(packet(PacketKind::Connect, None, Some(r#"{"a":1}"#))),
            r#"0/admin,{"a":1}"#,
        ),
        (packet(PacketKind::Disconnect, None, None), "1"),
        (admin(packet(PacketKind::Disconnect, None, None)), "1/admin,"),
        (packet(PacketKind::Event, None, Some(r#"["foo"]"#)), r#"2["foo"]"#),
        (
            admin(packet(PacketKind::Event, None, Some(r#"["bar"]"#))),
            r#"2/admin,["bar"]"#,
        ),
        (
            packet(PacketKind::Event, Some(12), Some(r#"["foo",1]"#)),
            r#"212["foo",1]"#,
        ),
        (packet(PacketKind::Event, Some(0), Some("[5]")), "20[5]"),
        (
            admin(packet(PacketKind::Ack, Some(13), Some(r#"["bar"]"#))),
            r#"3/admin,13["bar"]"#,
        ),
        (
            with(
                1,
                packet(
                    PacketKind::BinaryEvent,
                    None,
                    Some(r#"["baz",{"_placeholder":true,"num":0}]"#),
                ),
            ),
            r#"51-["baz",{"_placeholder":true,"num":0}]"#,
        ),
        (
            with(
                2,
                admin(packet(
                    PacketKind::BinaryAck,
                    Some(15),
                    Some(r#"["bar",{"_placeholder":true,"num":1}]"#),
                )),
            ),
            r#"62-/admin,15["bar",{"_placeholder":true,"num":1}]"#,
        ),
    ] {
        assert_eq!(SocketPacket::parse(written), Ok(expected.clone()), "{written}");
        assert_eq!(text(&expected), written);
    }
    let bare = SocketPacket::parse("1/admin").unwrap();
    assert_eq!(bare.namespace, "/admin", "the comma may be missing at the end");
}

#[test]
fn data_has_to_fit_the_type() {
    for (written, error) in [
        ("", SocketPacketError::Type),
        ("abc", SocketPacketError::Type),
        ("9[]", SocketPacketError::Type),
        (r#"4{"message":"x"}"#, SocketPacketError::Type),
        ("2", SocketPacketError::Data),
        ("2{}", SocketPacketError::Data),
        ("2[]", SocketPacketError::Data),
        ("2[{}]", SocketPacketError::Data),
        ("2[null]", SocketPacketError::Data),
        (r#"2abc["x"]"#, SocketPacketError::Data),
        (r#"2["connect"]"#, SocketPacketError::Reserved),
        (r#"2["disconn\u0065cting"]"#, SocketPacketError::Reserved),
        ("0[]", SocketPacketError::Data),
        ("07{}", SocketPacketError::Data),
        ("1{}", SocketPacketError::Data),
        (r#"3["x"]"#, SocketPacketError::Ack),
        ("37{}", SocketPacketError::Data),
        (r#"29223372036854775808["x"]"#, SocketPacketError::Ack),
        (r#"511-["x"]"#, SocketPacketError::Attachments),
        (r#"5["x"]"#, SocketPacketError::Attachments),
        (r#"5-["x"]"#, SocketPacketError::Attachments),
        (r#"5+1-["x"]"#, SocketPacketError::Attachments),
    ] {
        assert_eq!(SocketPacket::parse(written), Err(error), "{written}");
    }
    for written in [
        r#"2["x""#,
        r#"2["x",]"#,
        r#"2["x"]]"#,
        "0{",
        r#"2["x",{"a":1,"a":2}]"#,
    ] {
        let refused = SocketPacket::parse(written);
        assert!(matches!(refused, Err(SocketPacketError::Json(_))), "{written}");
    }
    let long = format!("0/{},", "x".repeat(NAMESPACE_BYTES));
    // A control character would come back in the refusal, where a payload has its separators.
    for written in [&*long, "0/a\x1eb,", "0/\u{85},", "2/\n,[\"x\"]"] {
        assert_eq!(
            SocketPacket::parse(written),
            Err(SocketPacketError::Namespace),
            "{written:?}"
        );
    }
}

#[test]
fn nesting_is_refused_before_a_tree_is_built() {
    let deep = format!(r#"2["x",{}{}]"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(
        SocketPacket::parse(&deep),
        Err(SocketPacketError::Json(_))
    ));
}

#[test]
fn event_has_a_name_and_verbatim_arguments() {
    let packet = SocketPacket::parse(r#"27["s\u0065nd",{"n":9007199254740993},"x"]"#).unwrap();
    let event = packet.event().unwrap();
    let arguments: Vec<_> = event.arguments.iter().map(|value| value.get()).collect();
    assert_eq!(
        (&*event.name, &arguments[..]),
        ("send", &[r#"{"n":9007199254740993}"#, r#""x""#][..])
    );
    assert_eq!(SocketPacket::parse("2[-5]").unwrap().event().unwrap().name, "-5");
}

proptest! {
    #[test]
    fn events_come_back_unchanged(
        name in "[a-z]{1,8}!",
        argument in any::<String>(),
        ack in prop::option::of(0..=i64::MAX as u64),
        namespace in "/[a-z]{0,6}",
        attachments in 0..=ATTACHMENTS,
    ) {
        let data = json!([name, argument]).to_string();
        let sent = SocketPacket {
            kind: PacketKind::BinaryEvent,
            attachments,
            namespace: Cow::Owned(namespace),
            ack,
            data: Some(Cow::Owned(data)),
        };
        let written = text(&sent);
        let read = SocketPacket::parse(&written).unwrap();
        prop_assert_eq!(&read, &sent);
        let event = read.event().unwrap();
        prop_assert_eq!(&event.name, &name);
        let read: String = serde_json::from_str(event.arguments[0].get()).unwrap();
        prop_assert_eq!(read, argument);
    }

    #[test]
    fn no_text_makes_it_panic(written in "[0-9]{0,2}[-/,0-9a-z\\[\\]{}\":\\\\€]{0,40}") {
        if let Ok(packet) = SocketPacket::parse(&written) {
            let again = text(&packet);
            prop_assert_eq!(SocketPacket::parse(&again), Ok(packet.clone()));
        }
    }
}
