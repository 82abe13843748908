//! Where a forwarder is: `tcp://host:port`, or `ipc://path` on one machine.

use std::error::Error;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen at or to connect to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// TCP.
    Tcp {
        /// A name or an address; `*` listens at all addresses of IPv4.
        host: String,
        /// The port; 0 listens at any that is free.
        port: u16,
    },
    /// A socket in the file system, on Unix only.
    Ipc(PathBuf),
}

impl Endpoint {
    /// Whether others than this machine can reach it, as far as its text tells.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ipc(_) => true,
            Self::Tcp { host, .. } => {
                host == "localhost"
                    || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
        }
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(f, "ipc://{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `tcp://host:port`, `tcp://[v6]:port`, `tcp://*:port` or `ipc://path`.
    ///
    /// # Errors
    /// [`EndpointError`].
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(path) = text.strip_prefix("ipc://") {
            let is_path = !path.is_empty() && !path.contains('\0');
            return if is_path { Ok(Self::Ipc(path.into())) } else { Err(EndpointError::Path) };
        }
        let rest = text.strip_prefix("tcp://").ok_or(EndpointError::Scheme)?;
        let (host, port) = rest.rsplit_once(':').ok_or(EndpointError::Port)?;
        let port = port.parse().map_err(|_| EndpointError::Port)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = |host: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
            !host.is_empty() && host.bytes().all(fits)
        };
        match bare {
            Some(bare) if bare.parse::<std::net::Ipv6Addr>().is_ok() => {
                Ok(Self::Tcp { host: bare.to_owned(), port })
            }
            None if is_host(host) => Ok(Self::Tcp { host: host.to_owned(), port }),
            Some(_) | None => Err(EndpointError::Host),
        }
    }
}

/// Why a text is no endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EndpointError {
    /// It begins neither with `tcp://` nor with `ipc://`.
    Scheme,
    /// The host is missing, or is no name and no address.
    Host,
    /// The port is missing, or is no number from 0 to 65535.
    Port,
    /// The path is missing, or has a zero byte.
    Path,
}

impl Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "an endpoint begins with tcp:// or ipc://",
            Self::Host => "the host must be a name, an IPv4 address or an IPv6 address in []",
            Self::Port => "after the host there must be a colon and a port from 0 to 65535",
            Self::Path => "after ipc:// there must be a path",
        })
    }
}

impl Error for EndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_endpoints_and_texts_that_are_not() {
        for good in [
            "tcp://127.0.0.1:5559",
            "tcp://[::1]:5559",
            "tcp://*:0",
            "tcp://a-b.c:65535",
            "ipc:///a/b",
        ] {
            let endpoint: Endpoint = good.parse().unwrap();
            assert_eq!(endpoint.to_string(), good);
        }
        let bad = |text: &str| text.parse::<Endpoint>().unwrap_err();
        assert_eq!(bad("127.0.0.1:5559"), EndpointError::Scheme);
        assert_eq!(bad("inproc://x"), EndpointError::Scheme);
        assert_eq!(bad("tcp://:1"), EndpointError::Host);
        assert_eq!(bad("tcp://a b:1"), EndpointError::Host);
        assert_eq!(bad("tcp://[::g]:1"), EndpointError::Host);
        assert_eq!(bad("tcp://::1:1"), EndpointError::Host);
        assert_eq!(bad("tcp://a"), EndpointError::Port);
        assert_eq!(bad("tcp://a:65536"), EndpointError::Port);
        assert_eq!(bad("tcp://a:-1"), EndpointError::Port);
        assert_eq!(bad("ipc://"), EndpointError::Path);
    }

    #[test]
    fn what_only_this_machine_reaches() {
        let local = |text: &str| text.parse::<Endpoint>().unwrap().is_local();
        assert!(local("tcp://127.0.0.1:1") && local("tcp://[::1]:1") && local("tcp://localhost:1"));
        assert!(local("ipc://x") && !local("tcp://*:1") && !local("tcp://10.0.0.1:1"));
    }
}
