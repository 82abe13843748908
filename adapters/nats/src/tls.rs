//! Files of TLS, looked at before they are used: a connection that fails later says less, and again
//! and again.

use std::path::Path;
use std::sync::Arc;

use async_nats::rustls::crypto::ring::default_provider;
use async_nats::rustls::pki_types::pem::{self, PemObject};
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{ClientConfig, Error, RootCertStore};

use crate::config::{NatsError, NatsTls};

/// No file of certificates, keys or credentials is longer, in bytes: some systems have all roots in
/// one.
const LONGEST: u64 = 4 << 20;

/// Whether all files of it are there, and are what they are given for.
pub(crate) fn check(tls: &NatsTls) -> Result<(), NatsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &tls.ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| refused(path, &error))?;
        }
    }
    match (&tls.cert, &tls.key) {
        (None, None) => Ok(()),
        (Some(_), None) | (None, Some(_)) => Err(NatsError::HalfPair),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| {
                let is_none = matches!(error, pem::Error::NoItemsFound);
                let none = || "there is no private key in it (PEM)".to_owned();
                let detail = if is_none { none() } else { error.to_string() };
                NatsError::File { path: key.clone(), detail }
            })?;
            let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| refused(cert, &error))?;
            let config = config.with_root_certificates(roots).with_client_auth_cert(chain, secret);
            config.map(drop).map_err(|error| {
                if matches!(error, Error::InconsistentKeys(_)) {
                    let detail = format!("it is not the key of {}", cert.display());
                    return NatsError::File { path: key.clone(), detail };
                }
                refused(cert, &error)
            })
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NatsError> {
    let text = read(path)?;
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| refused(path, &error))?;
    if all.is_empty() {
        return Err(refused(path, &"there is no certificate in it (PEM)"));
    }
    Ok(all)
}

/// A file, whole; a device that never ends is refused like a file that is too long.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, NatsError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| refused(path, &error))?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| refused(path, &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= LONGEST) {
        return Ok(bytes);
    }
    Err(refused(path, &format_args!("it is longer than {LONGEST} bytes")))
}

fn refused(path: &Path, why: &dyn std::fmt::Display) -> NatsError {
    NatsError::File { path: path.to_owned(), detail: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(file: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/tls").join(file)
    }

    fn why(tls: &NatsTls) -> String {
        check(tls).expect_err("it cannot be used").to_string()
    }

    #[test]
    fn files_are_what_they_are_given_for() {
        let good = NatsTls::new().ca(of("ca.pem"));
        assert_eq!(check(&good), Ok(()));
        let client = |cert: &str, key: &str| good.clone().client(of(cert), of(key));
        assert_eq!(check(&client("client.pem", "client.key")), Ok(()));
        assert!(why(&NatsTls::new().ca(of("client.key"))).contains("client.key: there is no cert"));
        assert!(why(&client("client.pem", "server.key")).contains("server.key: it is not the key"));
        assert!(why(&client("client.pem", "ca.pem")).contains("ca.pem: there is no private key"));
        assert!(why(&client("README.md", "client.key")).contains("README.md: there is no cert"));
        assert!(why(&NatsTls::new().ca("/dev/zero")).contains("it is longer than"));
        let half = NatsTls { cert: Some(of("client.pem")), ..NatsTls::new() };
        assert_eq!(check(&half), Err(NatsError::HalfPair));
    }
}
