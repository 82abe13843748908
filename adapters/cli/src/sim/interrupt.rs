//! Ctrl-C while there is work to sum up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// Whether Ctrl-C or SIGTERM came. A second one ends the program at once, with 130.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. Where that is not possible, signals do what they always do.
    pub(super) fn listen() -> Self {
        let came = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&came);
        let listening = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(tokio) = tokio else { return };
            tokio.block_on(async {
                let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
                let [Ok(mut interrupt), Ok(mut terminate)] = kinds.map(signal) else { return };
                for second in [false, true] {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    if second {
                        std::process::exit(130);
                    }
                    set.store(true, Ordering::Relaxed);
                }
            });
        });
        // Without the thread, Ctrl-C ends the program as it always does.
        drop(listening);
        Self(came)
    }

    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
