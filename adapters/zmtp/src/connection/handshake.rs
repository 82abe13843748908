//! From the greeting to the first message.

use alloc::vec::Vec;

use lictor_kernel::Instant;

use super::{Event, Inner, Peer, Phase};
use crate::command::{self, Metadata};
use crate::curve::{Client, PublicKey, SecretKey, Server, Session};
use crate::frame::{Frame, Kind};
use crate::greeting::{GREETING, Greeting, mechanism};
use crate::{Config, ConnectionError, Security};

/// What a handshake waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// NULL: the READY of the peer. Ours is out.
    Null,
    /// The server of CURVE: a HELLO.
    Hello(Server),
    /// The client: a WELCOME.
    Welcome(Client),
    /// The server: an INITIATE.
    Initiate(Server),
    /// The client: a READY.
    Ready(Client),
}

impl Step {
    /// The first step, and what this end sends at it.
    pub(super) fn first(
        config: &Config,
        seed: &[u8; 32],
        wire: &mut Vec<u8>,
    ) -> Result<Self, ConnectionError> {
        match &config.security {
            Security::Null => {
                command::put("READY", &[&metadata(config)], wire);
                Ok(Self::Null)
            }
            Security::CurveServer { secret, .. } => {
                Ok(Self::Hello(Server::new(secret.clone(), seed)))
            }
            Security::CurveClient { server, public, secret } => {
                let client = Client::new(*server, *public, secret.clone(), seed);
                client.hello(wire)?;
                Ok(Self::Welcome(client))
            }
        }
    }
}

/// What this end greets with.
pub(super) fn greeting(config: &Config) -> Greeting {
    let (name, as_server) = match &config.security {
        Security::Null => ("NULL", false),
        Security::CurveClient { .. } => ("CURVE", false),
        Security::CurveServer { .. } => ("CURVE", true),
    };
    Greeting { minor: 1, mechanism: mechanism(name), as_server }
}

fn metadata(config: &Config) -> Vec<u8> {
    Metadata { socket: config.socket, identity: config.identity.clone() }.encode()
}

impl Inner {
    /// Takes the greeting from the front of `bytes`, as far as it is missing.
    pub(super) fn greet(
        &mut self,
        bytes: &mut &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), ConnectionError> {
        let Phase::Greeting { bytes: gathered, have } = &mut self.phase else { return Ok(()) };
        let (piece, rest) = bytes.split_at((GREETING - *have).min(bytes.len()));
        *bytes = rest;
        let end = *have + piece.len();
        if let Some(room) = gathered.get_mut(*have..end) {
            room.copy_from_slice(piece);
        }
        *have = end;
        Greeting::check_start(gathered.get(..end).unwrap_or_default())?;
        if end < GREETING {
            return Ok(());
        }
        let (ours, theirs) = (greeting(&self.config), Greeting::decode(gathered));
        if ours.mechanism != theirs.mechanism {
            let name = theirs.mechanism.split(|byte| *byte == 0).next().unwrap_or_default();
            return Err(ConnectionError::OtherMechanism { theirs: command::text(name) });
        }
        let is_curve = self.config.security != Security::Null;
        if is_curve && ours.as_server == theirs.as_server {
            return Err(ConnectionError::RolesClash);
        }
        self.minor = theirs.minor;
        self.phase = Phase::Handshake(Step::first(&self.config, self.seed.as_bytes(), wire)?);
        self.seed = SecretKey::from_bytes([0; 32]);
        Ok(())
    }

    /// Takes one step.
    pub(super) fn shake(
        &mut self,
        now: Instant,
        frame: Frame<'_>,
        wire: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> Result<(), ConnectionError> {
        if frame.kind != Kind::Command {
            return Err(ConnectionError::Unexpected);
        }
        let (name, content) = command::split(frame.body)?;
        if name == b"ERROR" {
            return Err(command::reason(content)?);
        }
        let Phase::Handshake(step) = core::mem::replace(&mut self.phase, Phase::Ended) else {
            return Err(ConnectionError::Unexpected);
        };
        let next = match (step, name) {
            (Step::Null, b"READY") => return self.open(now, content, None, None, events),
            (Step::Hello(mut server), b"HELLO") => {
                server.hello(content, wire)?;
                Step::Initiate(server)
            }
            (Step::Welcome(mut client), b"WELCOME") => {
                client.welcome(content, &metadata(&self.config), wire)?;
                Step::Ready(client)
            }
            (Step::Initiate(server), b"INITIATE") => {
                let Security::CurveServer { allow, .. } = &self.config.security else {
                    return Err(ConnectionError::Unexpected);
                };
                let (theirs, key, session) = server.initiate(content, allow)?;
                self.open(now, &theirs, Some(key), Some(session), events)?;
                return server.ready(&metadata(&self.config), wire);
            }
            (Step::Ready(mut client), b"READY") => {
                let (theirs, session) = client.ready(content)?;
                return self.open(now, &theirs, None, Some(session), events);
            }
            (
                Step::Null | Step::Hello(_) | Step::Welcome(_) | Step::Initiate(_) | Step::Ready(_),
                _,
            ) => return Err(ConnectionError::Unexpected),
        };
        self.phase = Phase::Handshake(next);
        Ok(())
    }

    fn open(
        &mut self,
        now: Instant,
        metadata: &[u8],
        key: Option<PublicKey>,
        session: Option<Session>,
        events: &mut Vec<Event>,
    ) -> Result<(), ConnectionError> {
        let Metadata { socket, identity } = Metadata::decode(metadata, self.config.socket)?;
        let heartbeat = self.config.heartbeat.as_ref().filter(|_| self.minor >= 1);
        self.watch.open(now, heartbeat);
        self.session = session;
        self.phase = Phase::Open;
        events.push(Event::Open(Peer { socket, identity, minor: self.minor, key }));
        Ok(())
    }
}
