//! What to do about a connection that does not come, by what the other end has said and by what the
//! topology says of keys.
//!
//! The words are those of async-nats and of rustls; where they change, a reason stands without its
//! remedy, and nothing else is lost.

use lictor_topology::{Security, Topology, TransportKind};

/// What a topology offers to its NATS server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    ca: bool,
    seed: bool,
    creds: bool,
}

impl Offered {
    /// `None` where the broker is another than NATS: its words say nothing of the file.
    pub(super) fn of(topology: &Topology) -> Option<Self> {
        let Security { nats, .. } = &topology.security;
        (topology.transport.kind == TransportKind::Nats).then(|| Self {
            ca: nats.tls.as_ref().is_some_and(|tls| tls.ca.is_some()),
            seed: nats.nkey_seed.is_some(),
            creds: nats.creds.is_some(),
        })
    }

    /// What the reason means in the words of the file.
    pub(super) fn hint(self, why: &str) -> Option<&'static str> {
        let why = why.to_ascii_lowercase();
        if why.contains("certificaterequired") {
            return Some(
                "the server wants to see a certificate: give security.transport.nats.tls.cert and \
                 key",
            );
        }
        if why.contains("invalid peer certificate") && self.ca {
            return Some(
                "the certificate of the server is not vouched for by the file that \
                 security.transport.nats.tls.ca names, or is for another name",
            );
        }
        if why.contains("invalid peer certificate") {
            return Some(
                "nobody whom this system trusts vouches for the certificate of the server: give \
                 security.transport.nats.tls.ca",
            );
        }
        if !why.contains("authorization violation") && !why.contains("authentication") {
            return None;
        }
        Some(match (self.seed, self.creds) {
            (true, _) => {
                "the server does not let in the public key of security.transport.nats.nkey_seed"
            }
            (_, true) => {
                "the server does not let in the user of the file that \
                 security.transport.nats.creds names"
            }
            (false, false) => {
                "the server lets in nobody without a key: give security.transport.nats.nkey_seed \
                 or creds, or a user and a password in the URL of the server"
            }
        })
    }
}
