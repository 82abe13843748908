//! Transport, processes and security as canonical YAML: a block that is as by default is left out.

use serde_yaml::{Mapping, Value};

use super::{backoff, duration, intensity, put, text, word};
use crate::model::Topology;
use crate::network::{
    Curve, Identity, JetStream, Membership, Nats, NatsSecurity, Process, Secret, Security, Signing,
    Transport, Zmq,
};
use crate::policy::RESTARTS;
use crate::security::MODES;
use crate::transport::KINDS;

pub(super) fn network(file: &mut Mapping, topology: &Topology) {
    put(file, "transport", transport(&topology.transport));
    if !topology.processes.is_empty() {
        let processes = topology.processes.iter();
        let processes: Mapping =
            processes.map(|it| (it.name.as_str().into(), process(it).into())).collect();
        put(file, "processes", processes);
    }
    if topology.security != Security::default() {
        put(file, "security", security(&topology.security));
    }
}

fn transport(transport: &Transport) -> Mapping {
    let default = Transport::default();
    let mut map = Mapping::new();
    word(&mut map, "type", KINDS, transport.kind);
    if transport.zmq != default.zmq {
        put(&mut map, "zmq", zmq(&transport.zmq));
    }
    if transport.nats != default.nats {
        put(&mut map, "nats", nats(&transport.nats));
    }
    if transport.cluster != default.cluster {
        put(&mut map, "cluster", text(&transport.cluster));
    }
    if transport.process != default.process {
        put(&mut map, "process", text(&transport.process));
    }
    if transport.membership != default.membership {
        put(&mut map, "membership", membership(&transport.membership));
    }
    map
}

fn zmq(zmq: &Zmq) -> Mapping {
    let mut map = Mapping::new();
    put(&mut map, "pub_addr", text(&zmq.pub_addr));
    put(&mut map, "sub_addr", text(&zmq.sub_addr));
    put(&mut map, "start_proxy", zmq.start_proxy);
    map
}

fn nats(nats: &Nats) -> Mapping {
    let mut map = Mapping::new();
    let servers: Vec<Value> = nats.servers.iter().map(secret).collect();
    put(&mut map, "servers", servers);
    match &nats.jetstream {
        Some(limits) => put(&mut map, "jetstream", jetstream(limits)),
        None => put(&mut map, "jetstream", false),
    }
    put(&mut map, "stream_name", text(&nats.stream_name));
    map
}

fn jetstream(limits: &JetStream) -> Mapping {
    let mut map = Mapping::new();
    put(&mut map, "enabled", true);
    for (key, limit) in [("max_bytes", limits.max_bytes), ("max_messages", limits.max_messages)] {
        put(&mut map, key, limit.map_or(Value::Null, Value::from));
    }
    for (key, time) in [("max_age", limits.max_age), ("ack_wait", limits.ack_wait)] {
        put(&mut map, key, time.map_or(Value::Null, duration));
    }
    put(&mut map, "max_deliver", limits.max_deliver.map_or(Value::Null, Value::from));
    map
}

fn membership(membership: &Membership) -> Mapping {
    let mut map = Mapping::new();
    put(&mut map, "heartbeat_interval", duration(membership.heartbeat_interval));
    put(&mut map, "heartbeat_timeout", duration(membership.heartbeat_timeout));
    put(&mut map, "missed_heartbeats_threshold", membership.missed_heartbeats_threshold);
    put(&mut map, "ask_every", duration(membership.ask_every));
    put(&mut map, "lease", duration(membership.lease));
    put(&mut map, "child_lease", duration(membership.child_lease));
    map
}

fn process(process: &Process) -> Mapping {
    let mut map = Mapping::new();
    put(&mut map, "external", process.external);
    // Of a process that somebody else starts nothing else is known.
    if process.external {
        return map;
    }
    if !process.command.is_empty() {
        let command: Vec<Value> = process.command.iter().map(|part| text(part)).collect();
        put(&mut map, "command", command);
    }
    if !process.env.is_empty() {
        let env: Mapping = process.env.iter().map(|(key, it)| (key.into(), text(it))).collect();
        put(&mut map, "env", env);
    }
    word(&mut map, "restart", RESTARTS, process.restart);
    intensity(&mut map, process.intensity);
    backoff(&mut map, process.backoff);
    put(&mut map, "shutdown", duration(process.shutdown));
    map
}

fn security(security: &Security) -> Mapping {
    let mut map = Mapping::new();
    put(&mut map, "identity", identity(&security.identity));
    put(&mut map, "signing", signing(&security.signing));
    let mut transport = Mapping::new();
    if let Some(keys) = &security.curve {
        let mut zmq = Mapping::new();
        put(&mut zmq, "curve", curve(keys));
        put(&mut transport, "zmq", zmq);
    }
    if security.nats != NatsSecurity::default() {
        put(&mut transport, "nats", nats_security(&security.nats));
    }
    put(&mut map, "transport", transport);
    map
}

fn identity(identity: &Identity) -> Mapping {
    let mut map = Mapping::new();
    word(&mut map, "mode", MODES, identity.mode);
    put(&mut map, "key_dir", text(&identity.key_dir));
    map
}

fn signing(signing: &Signing) -> Mapping {
    let mut map = Mapping::new();
    put(&mut map, "enabled", signing.enabled);
    put(&mut map, "algorithm", "ed25519");
    put(&mut map, "require_verification", signing.require_verification);
    put(&mut map, "allow_unsigned", signing.allow_unsigned);
    map
}

fn curve(curve: &Curve) -> Mapping {
    let mut map = Mapping::new();
    put(&mut map, "enabled", true);
    put(&mut map, "server_public_key", text(&curve.server_public_key));
    let server = curve.server_secret_key.as_ref();
    put(&mut map, "server_secret_key", server.map_or_else(|| "".into(), secret));
    put(&mut map, "client_public_key", text(&curve.client_public_key));
    put(&mut map, "client_secret_key", secret(&curve.client_secret_key));
    map
}

fn nats_security(nats: &NatsSecurity) -> Mapping {
    let mut map = Mapping::new();
    if let Some(files) = &nats.tls {
        let mut tls = Mapping::new();
        put(&mut tls, "enabled", true);
        for (key, path) in [("cert", &files.cert), ("key", &files.key), ("ca", &files.ca)] {
            put(&mut tls, key, path.as_ref().map_or(Value::Null, |path| text(path)));
        }
        put(&mut map, "tls", tls);
    }
    if let Some(seed) = &nats.nkey_seed {
        put(&mut map, "nkey_seed", secret(seed));
    }
    if let Some(path) = &nats.creds {
        put(&mut map, "creds", text(path));
    }
    map
}

fn secret(secret: &Secret) -> Value {
    text(secret.reveal())
}
