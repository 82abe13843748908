//! Processes that sign, with keys that were given out, and one whose key is not on the list.

use std::path::{Path, PathBuf};
use std::process::Command;

use lictor::Value;
use nix::sys::signal::Signal;

use crate::cluster::{ports, with_ports};
use crate::support::{File, Running, answered, lictor, of, output};

const TOPOLOGY: &str = "
transport:
  type: zmq
  zmq: { pub_addr: 'tcp://127.0.0.1:${PUB_PORT}', sub_addr: 'tcp://127.0.0.1:${SUB_PORT}' }
  membership: { heartbeat_interval: 100ms, heartbeat_timeout: 200ms, ask_every: 100ms, child_lease: 500ms }
processes:
  near: {}
  far: { external: true }
security:
  signing: { enabled: true }
  identity: { mode: provisioned, key_dir: '${KEYS}' }
supervision:
  max_restarts: 10
  backoff: NONE
  children:
    - agent: { name: sum, type: lictor.counter, process: near }
    - agent: { name: clock, type: lictor.ticker, config: { to: sum, kind: Add, payload: { n: 1 }, every: 50ms, ask: true } }
    - agent: { name: away, type: lictor.counter, process: far }
    - agent: { name: caller, type: lictor.ticker, config: { to: away, kind: Add, payload: { n: 1 }, every: 50ms, ask: true } }
";

/// Folders of keys, one for each machine.
struct Keys(PathBuf);

impl Keys {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("lictor-cli-{}-{name}", std::process::id())))
    }

    /// Makes keys on a machine.
    fn made(&self, machine: &str, names: &[&str]) -> PathBuf {
        let folder = self.0.join(machine);
        let dir = ["keys", "create", "--dir", folder.to_str().unwrap()];
        let made = output(&[&dir[..], names].concat());
        assert_eq!(made.status.code(), Some(0), "{}", made.stderr);
        folder
    }

    /// Gives the public keys of one machine to another.
    fn give(&self, names: &[&str], [from, to]: [&str; 2]) {
        for name in names {
            let [from, to] = [from, to].map(|machine| self.0.join(machine).join(name));
            std::fs::create_dir_all(&to).unwrap();
            std::fs::copy(from.join("id_ed25519.pub"), to.join("id_ed25519.pub")).unwrap();
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(args: &[&str], keys: &Path, ports: [u16; 2]) -> Command {
    let mut command = lictor(args);
    with_ports(&mut command, ports);
    command.env("KEYS", keys);
    command
}

#[test]
fn a_process_whose_key_is_not_on_the_list_is_refused_and_the_others_go_on() {
    let keys = Keys::new("signed");
    let here = keys.made("here", &["main", "near"]);
    for machine in ["there", "elsewhere"] {
        keys.made(machine, &["far"]);
        keys.give(&["main", "near"], ["here", machine]);
    }
    keys.give(&["far"], ["there", "here"]);
    let (file, ports) = (File::new(TOPOLOGY), ports());
    let mut run = Running::logging(command(&["run", file.path(), "--json"], &here, ports));
    run.wait_for(of("started", "sum"));
    let far = |machine: &str| {
        let args = ["worker", file.path(), "--process", "far", "--json"];
        Running::logging(command(&args, &keys.0.join(machine), ports))
    };
    // It knows all keys of the others, and has one of its own that they do not know.
    let mut wrong = far("elsewhere");
    wrong.wait_for(of("hosting", "far"));
    let line = run.logged("frames that come as those of the process \"far\" are refused");
    let public = here.join("far/id_ed25519.pub");
    let remedy = format!("{} here is to be the public half of its key", public.display());
    assert!(
        line.contains("the signature is not by its signer") && line.contains(&remedy),
        "{line}"
    );
    // It is said again only if there is more, with the number so far.
    let count = |line: &str| -> u64 {
        let (_, rest) = line.split_once("are refused, ").unwrap();
        rest.split_once(' ').unwrap().0.parse().unwrap()
    };
    let again = run.logged("are refused, ");
    assert!(count(&again) > count(&line), "{line} {again}");
    wrong.signal(Signal::SIGTERM);
    let wrong = wrong.rest();
    assert_eq!(wrong.status.code(), Some(0));
    assert!(!wrong.stdout.contains("\"started\""), "it was given nothing: {}", wrong.stdout);
    // The one that was meant is heard, and nobody has restarted anything for the other.
    let mut right = far("there");
    right.wait_for(of("hosting", "far"));
    assert_eq!(run.wait_for(of("started", "away"))["incarnation"], 1);
    let all = |event: &Value| ["clock", "caller"].iter().all(|it| answered(event, it) > 5);
    run.wait_for(|event| event["event"] == "stats" && all(event));
    for run in [&run, &right] {
        run.signal(Signal::SIGTERM);
    }
    let rest = run.rest();
    assert_eq!((rest.status.code(), right.rest().status.code()), (Some(0), Some(0)));
    assert!(!rest.lines().iter().any(of("crashed", "sum")), "{}", rest.stdout);
}

#[test]
fn keys_that_were_not_given_are_a_fault_with_its_place() {
    let keys = Keys::new("unsigned");
    let here = keys.made("here", &["main"]);
    let (file, ports) = (File::new(TOPOLOGY), ports());
    let refused = |args: &[&str]| {
        let refused = command(args, &here, ports).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        said
    };
    let near = here.join("near/id_ed25519.pub");
    let said = refused(&["run", file.path(), "--json"]);
    assert!(said.contains("error: the key of the process \"near\": there is no key"), "{said}");
    assert!(said.contains(&format!("copy it to {}", near.display())), "{said}");
    // Its own it cannot copy from anybody.
    let said = refused(&["worker", file.path(), "--process", "near", "--json"]);
    assert!(said.contains("id_ed25519; make one: lictor keys create --dir "), "{said}");
    assert!(!said.contains("copy it"), "{said}");
}
