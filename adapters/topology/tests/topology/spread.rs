//! Random transports, processes and keys for the properties of files.

use std::time::Duration;

use lictor_topology::{
    Child, Curve, IdentityMode, JetStream, Membership, Process, Secret, Security, SupervisorNode,
    Tls, Topology, Transport, TransportKind,
};
use proptest::prelude::{Just, Strategy as Generator, any, prop, prop_oneof};

fn time() -> impl Generator<Value = Duration> {
    (1_u64..10_000_000).prop_map(Duration::from_micros)
}

fn transport() -> impl Generator<Value = Transport> {
    let kind = prop_oneof![
        Just(TransportKind::InProcess),
        Just(TransportKind::Zmq),
        Just(TransportKind::Nats),
    ];
    let limits = (any::<u32>(), time(), time()).prop_map(|(many, age, wait)| {
        let mut limits = JetStream::default();
        (limits.max_bytes, limits.max_messages) = (Some(u64::from(many) + 1), None);
        (limits.max_age, limits.max_deliver) = (Some(age), Some(7));
        limits.ack_wait = Some(Duration::from_millis(100) + wait);
        limits
    });
    let words = ("[a-z]{1,4}", "[a-z]{1,3}(\\.[a-z]{1,3})?", "[A-Z]{1,4}");
    let jetstream = prop::option::of(limits);
    (kind, words, jetstream, any::<bool>(), time(), time(), 1..9_u32).prop_map(
        |(kind, (cluster, process, stream), jetstream, start_proxy, beat, more, misses)| {
            let mut transport = Transport::default();
            transport.kind = kind;
            (transport.cluster, transport.process) = (cluster, process);
            transport.zmq.pub_addr = "tcp://h:1".to_owned();
            transport.zmq.start_proxy = start_proxy;
            transport.nats.servers = vec![Secret::new("nats://u:${p}@h"), Secret::new("h:1")];
            (transport.nats.jetstream, transport.nats.stream_name) = (jetstream, stream);
            let least = Duration::from_millis(10);
            let (beat, more) = (beat.max(least), more.max(least));
            let membership: &mut Membership = &mut transport.membership;
            (membership.heartbeat_interval, membership.heartbeat_timeout) = (beat, more);
            membership.ask_every = more;
            membership.missed_heartbeats_threshold = misses;
            membership.lease = beat.max(more) * 3 + more;
            membership.child_lease = Duration::from_millis(100) + beat;
            transport
        },
    )
}

fn security() -> impl Generator<Value = Security> {
    let key = "[a-zA-Z0-9.:+=^!/*?&<>()@%$#-]{40}";
    (any::<(bool, bool, bool, bool)>(), key, any::<bool>(), prop::option::of("[a-z]{1,5}"))
        .prop_map(|((enabled, verify, unsigned, auto), key, knows, path)| {
            let mut security = Security::default();
            security.signing.enabled = enabled;
            security.signing.require_verification = verify;
            security.signing.allow_unsigned = unsigned;
            if !auto {
                security.identity.mode = IdentityMode::Provisioned;
            }
            security.curve = enabled.then(|| {
                let secret = Secret::new(key.clone());
                Curve::new(key.clone(), knows.then(|| secret.clone()), key, secret)
            });
            security.nats.creds.clone_from(&path);
            security.nats.tls = path.map(|path| {
                let mut tls = Tls::default();
                tls.ca = Some(path);
                tls
            });
            security
        })
}

/// The same tree, spread over processes.
pub(crate) fn spread(tree: impl Generator<Value = Topology>) -> impl Generator<Value = Topology> {
    let described = prop::collection::vec(any::<(bool, bool)>(), 0..5);
    (tree, transport(), security(), prop::collection::vec(0..6_u8, 0..12), described).prop_map(
        |(mut topology, transport, security, places, described)| {
            place(&mut topology.root, &mut places.into_iter().cycle());
            (topology.transport, topology.security) = (transport, security);
            for (number, (external, with_command)) in described.into_iter().enumerate() {
                let mut process = Process::new(format!("W{number}"));
                process.external = external;
                if with_command && !external {
                    process.command = vec!["run me".to_owned(), "${it}".to_owned()];
                    process.env = [("A".to_owned(), "$${x}".to_owned())].into_iter().collect();
                    process.shutdown = Duration::from_millis(1500);
                }
                topology.processes.push(process);
            }
            let placed: Vec<String> =
                topology.all_children().filter_map(Child::process).map(str::to_owned).collect();
            for name in placed {
                if !topology.processes.iter().any(|process| process.name == name) {
                    topology.processes.push(Process::new(name));
                }
            }
            topology
        },
    )
}

fn place(node: &mut SupervisorNode, places: &mut impl Iterator<Item = u8>) {
    for child in &mut node.children {
        let process = places.next().filter(|place| *place > 0).map(|place| format!("W{place}"));
        match child {
            Child::Supervisor(node) => place(node, places),
            Child::Agent(node) | Child::GenServer(node) => node.process = process,
            Child::DynamicSupervisor(_) | _ => {}
        }
    }
}
