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
            let path = folder.path(process).with_extension("pub");
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
    keyring.trust(node_name(node), keys.key)?;
    for old in keys.old {
        keyring.trust_until(node_name(node), old.key, old.until)?;
    }
    Ok(())
}
