//! The keys of the processes of a topology, and a wire on which they sign.
//!
//! A key is kept under the name of its process, as civitas keeps those of agents. Every process
//! must know the public keys of the others before it starts; where all share one folder and the
//! mode is `auto`, the first one makes them all.

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::NodeId;
use lictor_runtime::Transport;
use lictor_topology::{IdentityMode, Security};
use lictor_wire::system::{KeyDir, Mode, System};
use lictor_wire::{
    Ambient, Keyring, Opener, SealedTransport, Sealer, Window, frame_limits, node_name,
};

use super::{Network, NetworkError};

/// How long a frame is good after it was sealed, for clocks that agree.
const VALID_FOR: Duration = Duration::from_secs(30);

/// The wire with signatures, if the topology asks for them.
pub(super) fn sealed(
    network: &Network,
    security: &Security,
    wire: &Arc<dyn Transport>,
) -> Result<Option<Arc<SealedTransport>>, NetworkError> {
    if !security.signing.enabled {
        return Ok(None);
    }
    let broken = |process: &str, error: &dyn std::fmt::Display| NetworkError::Keys {
        process: process.to_owned(),
        detail: error.to_string(),
    };
    let folder = KeyDir::new(&security.identity.key_dir);
    let mode = match security.identity.mode {
        IdentityMode::Auto => Mode::Auto,
        IdentityMode::Provisioned => Mode::Provisioned,
    };
    let own = network.process();
    let key = folder.open(own, mode).map_err(|error| broken(own, &error))?;
    let mut keyring = Keyring::new();
    for (process, node) in &network.names {
        if mode == Mode::Auto && folder.public(process).is_err() {
            folder.open(process, mode).map_err(|error| broken(process, &error))?;
        }
        trust(&mut keyring, &folder, process, *node).map_err(|error| {
            if process == own {
                return broken(process, &*error);
            }
            // A new one would be nobody's: that process has, or makes, its own.
            let path = folder.public_path(process);
            let path = path.display();
            broken(process, &format_args!("{error}; where it is another's, copy it to {path}"))
        })?;
    }
    let (ambient, name) = (Arc::new(System), node_name(network.node()));
    let now = ambient.unix_time();
    let sealer = Sealer::new(name.as_str(), key, now.as_millis(), VALID_FOR);
    let sealer = sealer.map_err(|error| broken(own, &error))?;
    let opener = Opener::new(name, keyring, Window::default(), frame_limits(), now);
    let opener = opener.map_err(|error| broken(own, &error))?;
    Ok(Some(Arc::new(SealedTransport::new(Arc::clone(wire), sealer, opener, ambient))))
}

/// The key of a process counts for its node, and so do those that it has replaced.
fn trust(
    keyring: &mut Keyring,
    folder: &KeyDir,
    process: &str,
    node: NodeId,
) -> Result<(), Box<dyn std::error::Error>> {
    let keys = folder.public(process)?;
    for old in keys.old {
        keyring.trust_until(node_name(node), old.key, old.until)?;
    }
    // Last, so that the present key counts without end, were it on the list too.
    keyring.trust(node_name(node), keys.key)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use lictor_wire::{Refusal, SecretKey, UnixTime, write_old_keys};

    use super::*;

    const NODE: NodeId = NodeId(7);

    /// What becomes of a frame that `key` seals at a time, as a node with this keyring sees it.
    fn opened(keyring: &Keyring, key: SecretKey, at: UnixTime) -> Result<(), Refusal> {
        let limits = frame_limits();
        let sealer = Sealer::new(node_name(NODE), key, 1, VALID_FOR).expect("a name");
        let frame = sealer.seal("b", b"x", at, [0; 16], &limits).expect("a frame");
        let opener = Opener::new("b", keyring.clone(), Window::default(), limits, at);
        opener.expect("a name").open(&frame, at).map(drop)
    }

    // A change of keys that was stopped between its steps.
    #[test]
    fn the_present_key_counts_without_end_though_it_is_on_the_list() {
        let folder = std::env::temp_dir().join(format!("lictor-seal-{}", std::process::id()));
        let keys = KeyDir::new(&folder);
        let key = keys.create("w1").expect("a key");
        let until = UnixTime::from_millis(1_000_000);
        let list = write_old_keys(&[lictor_wire::OldKey { key: key.public(), until }]);
        std::fs::write(folder.join("w1/id_ed25519.pub.old"), list).expect("a file");
        let mut keyring = Keyring::new();
        let trusted = trust(&mut keyring, &keys, "w1", NODE);
        std::fs::remove_dir_all(&folder).expect("it is there");
        trusted.expect("keys");
        let after = until.saturating_add(Duration::from_secs(3600));
        assert_eq!(opened(&keyring, key, after), Ok(()));
    }
}
