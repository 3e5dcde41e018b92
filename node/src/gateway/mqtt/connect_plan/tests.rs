use super::*;
use crate::config::HumanDuration;
use crate::gateway::mqtt::packet::{QualityOfService, WillMessage};

fn connect(version: MqttVersion) -> ConnectPacket {
    ConnectPacket {
        version,
        is_clean: false,
        keep_alive: 30,
        properties: Default::default(),
        client_id: "phone".to_owned(),
        will: None,
        user_name: None,
        password: Some(Bytes::from_static(b"dev:alice")),
    }
}

fn plan(connect: ConnectPacket) -> Result<ConnectPlan, ReasonCode> {
    ConnectPlan::of(connect, &Config::default()).map_err(|refusal| refusal.reason)
}

fn with_will(version: MqttVersion, topic: &str, payload: &'static str) -> ConnectPacket {
    let will = WillMessage {
        topic: topic.to_owned(),
        payload: Bytes::from_static(payload.as_bytes()),
        quality: QualityOfService::AtLeastOnce,
        is_retained: false,
        properties: Default::default(),
    };
    ConnectPacket {
        will: Some(will),
        ..connect(version)
    }
}

#[test]
fn client_id_is_the_device_or_assigned() {
    let named = plan(connect(MqttVersion::V5)).unwrap();
    assert_eq!(
        (&*named.device, named.accepted.assigned_client_id),
        ("phone", None)
    );
    let nameless = |version, is_clean| ConnectPacket {
        client_id: String::new(),
        is_clean,
        ..connect(version)
    };
    let assigned = plan(nameless(MqttVersion::V5, false)).unwrap();
    assert_eq!(assigned.accepted.assigned_client_id, Some(assigned.device));
    assert!(plan(nameless(MqttVersion::V3, true)).is_ok());
    assert_eq!(
        plan(nameless(MqttVersion::V3, false)).unwrap_err(),
        ReasonCode::ClientIdNotValid
    );
    let long = ConnectPacket {
        client_id: "x".repeat(65),
        ..connect(MqttVersion::V3)
    };
    assert_eq!(plan(long).unwrap_err(), ReasonCode::ClientIdNotValid);
}

#[test]
fn password_is_the_token_and_the_user_name_its_user() {
    for password in [None, Some(&b""[..]), Some(b"\xFF")] {
        let nothing = ConnectPacket {
            password: password.map(Bytes::from_static),
            ..connect(MqttVersion::V5)
        };
        assert_eq!(plan(nothing).unwrap_err(), ReasonCode::BadCredentials);
    }
    for (name, permitted) in [("", true), ("token", true), ("alice", true), ("bob", false)] {
        let mut named = connect(MqttVersion::V3);
        named.user_name = Some(name.to_owned());
        let checked = plan(named).unwrap().check_user(&"alice".parse().unwrap());
        assert_eq!(checked.is_ok(), permitted, "{name}");
    }
    let mut other = connect(MqttVersion::V5);
    other.properties.has_authentication = true;
    assert_eq!(plan(other).unwrap_err(), ReasonCode::BadAuthenticationMethod);
}

#[test]
fn keep_alive_is_one_and_a_half_intervals() {
    let of = |version, keep_alive| {
        let plan = plan(ConnectPacket {
            keep_alive,
            ..connect(version)
        });
        let plan = plan.unwrap();
        (plan.accepted.server_keep_alive, plan.policy().idle)
    };
    let after = |seconds| IdleLimit::After(Duration::from_secs(seconds));
    assert_eq!(of(MqttVersion::V3, 0), (None, IdleLimit::Never));
    assert_eq!(of(MqttVersion::V3, 600), (None, after(900)));
    assert_eq!(of(MqttVersion::V5, 30), (None, after(45)));
    assert_eq!(of(MqttVersion::V5, 120), (None, after(180)));
    assert_eq!(of(MqttVersion::V5, 0), (Some(60), after(90)));
    assert_eq!(of(MqttVersion::V5, 121), (Some(60), after(90)));
}

#[test]
fn session_expiry_is_granted_within_its_bounds() {
    let mut config = Config::default();
    config.mqtt.session_expiry_max = HumanDuration::secs(50);
    let of = |version, is_clean, asked| {
        let mut connect = connect(version);
        (connect.is_clean, connect.properties.session_expiry) = (is_clean, asked);
        ConnectPlan::of(connect, &config).unwrap().accepted.session_expiry
    };
    assert_eq!(of(MqttVersion::V3, true, None), 0);
    assert_eq!(of(MqttVersion::V3, false, None), 50);
    assert_eq!(of(MqttVersion::V5, false, None), 0);
    assert_eq!(of(MqttVersion::V5, true, Some(20)), 20);
    assert_eq!(of(MqttVersion::V5, false, Some(u32::MAX)), 50);
    config.mqtt.session_expiry_max = HumanDuration::secs(500);
    assert_eq!(granted_expiry(u32::MAX, &config), Duration::from_secs(500));
    assert_eq!(granted_expiry(20, &config), Duration::from_secs(20));
}

#[test]
fn will_is_not_delayed_beyond_its_session() {
    let mut config = Config::default();
    config.session.resume_timeout = HumanDuration::secs(90);
    let longest = |asked| {
        let mut connect = connect(MqttVersion::V5);
        connect.properties.session_expiry = asked;
        let plan = ConnectPlan::of(connect, &config).unwrap();
        plan.longest_will_delay(&config).as_secs()
    };
    assert_eq!(longest(None), 0);
    assert_eq!(longest(Some(1)), 0);
    assert_eq!(longest(Some(60)), 58);
    // The session is kept no longer than it can be resumed; behind that, it is rebuilt from its cursors.
    assert_eq!(longest(Some(3_600)), 88);
}

#[test]
fn will_is_checked_with_the_connect() {
    let send = r#"{"cid":"w1","b":{"text":"gone"}}"#;
    let v5 = MqttVersion::V5;
    let accepted = plan(with_will(v5, "c/g_1/send", send)).unwrap();
    assert_eq!(accepted.will.unwrap().request.id, None);
    assert!(plan(with_will(v5, "c/g_1/typing", r#"{"on":false}"#)).is_ok());
    for (topic, payload, reason) in [
        ("c/g_1/kick", send, ReasonCode::TopicNameInvalid),
        ("status/phone", send, ReasonCode::TopicNameInvalid),
        ("c/g_1/send", "offline", ReasonCode::PayloadFormatInvalid),
        ("c/g_1/send", r#"{"b":{}}"#, ReasonCode::PayloadFormatInvalid),
    ] {
        let refused = plan(with_will(v5, topic, payload)).unwrap_err();
        assert_eq!(refused, reason, "{topic} {payload}");
    }
    let mut retained = with_will(v5, "c/g_1/send", send);
    retained.will.as_mut().unwrap().is_retained = true;
    assert_eq!(
        plan(retained.clone()).unwrap_err(),
        ReasonCode::RetainNotSupported
    );
    retained.version = MqttVersion::V3;
    assert!(plan(retained).is_ok(), "ignored in 3.1.1");
}

#[test]
fn refusals_have_their_codes_in_both_versions() {
    for (code, reason, return_code) in [
        (ErrorCode::Unauthenticated, 0x86, 4),
        (ErrorCode::TokenExpired, 0x87, 5),
        (ErrorCode::Unavailable, 0x88, 3),
        (ErrorCode::RateLimited, 0x9F, 3),
        (ErrorCode::Conflict, 0x9F, 3),
        (ErrorCode::BadRequest, 0x85, 2),
    ] {
        let refused = refused_admission(code, "no").reason;
        assert_eq!(
            (refused.byte(), refused.return_code()),
            (reason, Some(return_code)),
            "{code}"
        );
    }
}
