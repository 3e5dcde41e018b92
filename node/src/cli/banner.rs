//! Texts printed after the start of a development node or local cluster.

use std::net::SocketAddr;

/// Schemes of a node's URLs.
#[derive(Clone, Copy)]
pub(super) struct Schemes {
    pub(super) http: &'static str,
    ws: &'static str,
    mqtt: &'static str,
    /// Options of `mosquitto_sub` for the certificate.
    mqtt_options: &'static str,
}

// === impl Schemes ===

impl Schemes {
    /// Returns the schemes of a node with or without TLS.
    pub(super) fn of(has_tls: bool) -> Schemes {
        if has_tls {
            Schemes {
                http: "https",
                ws: "wss",
                mqtt: "mqtts",
                mqtt_options: " --tls-use-os-certs",
            }
        } else {
            Schemes {
                http: "http",
                ws: "ws",
                mqtt: "mqtt",
                mqtt_options: "",
            }
        }
    }
}

/// Prints how to chat with a development node.
pub(super) fn dev(schemes: Schemes, http: SocketAddr, mqtt: Option<SocketAddr>, dir: &str, page: bool) {
    let Schemes {
        http: https,
        ws,
        mqtt: mqtts,
        mqtt_options,
    } = schemes;
    let page = if page {
        format!("Open {https}://{http}/ in a browser to chat.\n\n")
    } else {
        String::new()
    };
    let mqtt = mqtt.map_or_else(String::new, |mqtt| {
        format!(
            "
Or with any client of MQTT 3.1.1 or 5, at {mqtts}://{mqtt} or {ws}://{http}/mqtt:
  mosquitto_sub -h {ip} -p {port}{mqtt_options} -i phone -u token -P dev:bob -q 1 -t u/me/events
",
            ip = mqtt.ip(),
            port = mqtt.port(),
        )
    });
    println!(
        "{page}Rookery {version}: one node on {https}://{http}, data in {dir}, development tokens

Chat from two terminals:
  rookery chat --url {ws}://{http} --user alice
  rookery chat --url {ws}://{http} --user bob

Or with any WebSocket client, line by line:
  websocat --protocol chat.v1.json {ws}://{http}/v1/ws
  {{\"t\":\"auth\",\"id\":1,\"token\":\"dev:alice\"}}
  {{\"t\":\"send\",\"id\":2,\"to\":\"bob\",\"cid\":\"1\",\"b\":{{\"text\":\"hello\"}}}}
  {{\"t\":\"list\",\"id\":3}}
{mqtt}
Ctrl-C stops it.",
        version = env!("CARGO_PKG_VERSION"),
    );
}

/// Prints how to use a local cluster.
pub(super) fn cluster(schemes: Schemes, nodes: &[String], mqtts: &[String], dir: &str, page: bool) {
    let Schemes { http, ws, .. } = schemes;
    let first = &nodes[0];
    let last = &nodes[nodes.len() - 1];
    let page = if page {
        format!("Open {http}://{first}/ in a browser to chat, and {http}://{last}/ as another user.\n\n")
    } else {
        String::new()
    };
    println!(
        "{page}Rookery {version}: {nodes} nodes on {on}, data and logs in {dir}

Chat across nodes:
  rookery chat --url {all} --user alice
  rookery chat --url {ws}://{last} --user bob

MQTT 3.1.1 and 5:           {mqtt}
Look at it:                 rookery ctl status --url {http}://{first}
Console:                    {http}://{first}/console
Start a killed node again:  rookery node --config {dir}/node-1/node.toml
Ctrl-C stops all.",
        version = env!("CARGO_PKG_VERSION"),
        nodes = nodes.len(),
        on = nodes.join(", "),
        all = nodes
            .iter()
            .map(|node| format!("{ws}://{node}"))
            .collect::<Vec<_>>()
            .join(","),
        mqtt = mqtts.join(", "),
    );
}
