//! CONNECT of MQTT 3.1.1 and 5, as its fields.

use super::mqtt_packet::{mqtt_packet, put};

/// Fields of a CONNECT.
#[derive(Clone, Debug)]
pub struct MqttConnect {
    pub level: u8,
    pub client_id: String,
    pub is_clean: bool,
    pub keep_alive: u16,
    /// Properties of MQTT 5, without their length.
    pub properties: Vec<u8>,
    pub user_name: String,
    pub password: String,
    /// Topic and payload of the will.
    pub will: Option<(String, String)>,
    /// Properties of the will in MQTT 5, without their length.
    pub will_properties: Vec<u8>,
}

// === impl MqttConnect ===

impl MqttConnect {
    /// Returns the CONNECT of a user with a clean start. `level`: 4 or 5.
    #[must_use]
    pub fn clean(level: u8, user: &str, client_id: &str) -> MqttConnect {
        MqttConnect {
            level,
            client_id: client_id.to_owned(),
            is_clean: true,
            keep_alive: 60,
            properties: Vec::new(),
            user_name: "token".to_owned(),
            password: format!("dev:{user}"),
            will: None,
            will_properties: Vec::new(),
        }
    }

    /// Returns the CONNECT of a user whose session is kept.
    #[must_use]
    pub fn persistent(level: u8, user: &str, client_id: &str) -> MqttConnect {
        MqttConnect {
            is_clean: false,
            // A session expiry interval of an hour.
            properties: if level == 5 {
                vec![0x11, 0, 0, 14, 16]
            } else {
                Vec::new()
            },
            ..MqttConnect::clean(level, user, client_id)
        }
    }

    /// Returns the bytes of the packet.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, b"MQTT");
        let will = if self.will.is_some() { 0x0C } else { 0 };
        body.extend([self.level, 0xC0 | will | (u8::from(self.is_clean) << 1)]);
        body.extend(self.keep_alive.to_be_bytes());
        let properties = |body: &mut Vec<u8>, properties: &[u8]| {
            if self.level == 5 {
                body.push(u8::try_from(properties.len()).unwrap());
                body.extend(properties);
            }
        };
        properties(&mut body, &self.properties);
        put(&mut body, self.client_id.as_bytes());
        if let Some((topic, payload)) = &self.will {
            properties(&mut body, &self.will_properties);
            put(&mut body, topic.as_bytes());
            put(&mut body, payload.as_bytes());
        }
        put(&mut body, self.user_name.as_bytes());
        put(&mut body, self.password.as_bytes());
        mqtt_packet(0x10, &body)
    }
}
