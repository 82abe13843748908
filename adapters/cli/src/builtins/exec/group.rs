//! A process, its group, and the certainty that both end and are reaped.
//!
//! The hard case is the number: a process group is known by the pid of its leader, and a pid may
//! be used again once the leader has been reaped. So the end of the leader is first only looked
//! at, then the rest of its group is killed, and only then the leader is reaped, in one step under
//! one lock; nobody signals the group afterwards.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::watch;

use super::Exit;

/// The process group of a child that has not been reaped.
#[derive(Debug)]
pub(crate) struct Group(Mutex<Option<Pid>>);

impl Group {
    /// Sends a signal to the whole group, if it is still there.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // It may consist of processes that have just ended.
            let _ = killpg(pid, signal);
        }
    }

    /// Kills the group for the last time and reaps its leader, if that has ended.
    fn end(&self, child: &mut Child) -> Option<ExitStatus> {
        let mut pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = pid.take() {
            let _ = killpg(pid, Signal::SIGKILL);
        }
        child.try_wait().ok().flatten()
    }
}

/// At most one process at a time, over all incarnations of an agent.
#[derive(Debug)]
pub(crate) struct Slot(watch::Sender<bool>);

impl Default for Slot {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Slot {
    /// Waits until the process before has been reaped.
    pub(crate) async fn wait_until_free(&self) {
        let _ = self.0.subscribe().wait_for(|taken| !taken).await;
    }
}

/// A process that was started and is not watched yet.
pub(crate) struct Spawned {
    group: Arc<Group>,
    slot: Arc<Slot>,
    children: SignalStream,
}

/// Starts a process in a group of its own.
pub(crate) fn spawn(command: &mut Command, slot: &Arc<Slot>) -> std::io::Result<(Child, Spawned)> {
    // Listening begins before there is anything to hear.
    let children = signal(SignalKind::child())?;
    let child = command.spawn()?;
    let pid = pid_of(&child);
    slot.0.send_replace(true);
    let group = Arc::new(Group(Mutex::new(pid)));
    Ok((child, Spawned { group, slot: Arc::clone(slot), children }))
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
}

impl Spawned {
    /// Watches the process from a task of its own, to its very end.
    pub(crate) fn watch(self, child: Child) -> (Arc<Group>, watch::Receiver<Option<Exit>>) {
        let (told, exited) = watch::channel(None);
        let group = Arc::clone(&self.group);
        let leader = Leader { child, group: self.group, slot: self.slot };
        tokio::spawn(leader.watch(self.children, told));
        (group, exited)
    }
}

struct Leader {
    child: Child,
    group: Arc<Group>,
    slot: Arc<Slot>,
}

impl Leader {
    async fn watch(mut self, mut children: SignalStream, told: watch::Sender<Option<Exit>>) {
        until_ended(&mut self.child, &mut children).await;
        let status = match self.group.end(&mut self.child) {
            Some(status) => Ok(status),
            None => self.child.wait().await,
        };
        let exit = match status {
            Ok(status) => exit_of(status),
            Err(error) => Some(format!("its end cannot be told: {error}").into()),
        };
        self.slot.0.send_replace(false);
        told.send_replace(Some(exit));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // Unwatched, because the host goes away, it must not go on. Tokio reaps what it can.
        self.group.end(&mut self.child);
        self.slot.0.send_replace(false);
    }
}

/// Waits until a child has ended, without reaping it.
#[cfg(target_os = "linux")]
async fn until_ended(child: &mut Child, children: &mut SignalStream) {
    use nix::errno::Errno;
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let Some(pid) = pid_of(child) else { return };
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::Pid(pid), flags) {
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::StillAlive) => {
                if children.recv().await.is_none() {
                    return;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}

/// Waits until a child has ended. Where that cannot be had without reaping it, the number of its
/// group is free for the instant until the group is killed.
#[cfg(not(target_os = "linux"))]
async fn until_ended(child: &mut Child, _children: &mut SignalStream) {
    let _ = child.wait().await;
}

/// How a process ended, as the reason of its agent.
fn exit_of(status: ExitStatus) -> Exit {
    if status.success() {
        return None;
    }
    Some(match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}").into(),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by signal {}", signal.as_str()).into(),
            Err(_) => format!("killed by signal {number}").into(),
        },
        (None, None) => status.to_string().into(),
    })
}
