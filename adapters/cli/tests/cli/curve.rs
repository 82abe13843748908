//! A tree over processes whose ZeroMQ is enciphered, and those with other keys.

use std::path::PathBuf;
use std::process::Command;

use lictor::Value;
use nix::sys::signal::Signal;

use crate::cluster::{ports, with_ports};
use crate::support::{File, Logged, Running, answered, lictor, of, output, repository};

/// Pairs of keys, and a topology that takes them from variables.
struct Place {
    folder: PathBuf,
    file: File,
    ports: [u16; 2],
}

/// Variables, and the files that they are read from.
type Keys<'k> = &'k [(&'k str, &'k str)];

/// The variables of the keys, the files of the pair of the forwarder and of its clients first.
const KEYS: [(&str, &str); 4] = [
    ("SERVER_PUBLIC", "zmq_server.pub"),
    ("SERVER_SECRET", "zmq_server.key"),
    ("CLIENT_PUBLIC", "zmq_client.pub"),
    ("CLIENT_SECRET", "zmq_client.key"),
];

impl Place {
    fn new(name: &str) -> Self {
        let folder = format!("lictor-cli-curve-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let dir = ["--dir", folder.to_str().unwrap()];
        for names in [&[][..], &["other"]] {
            let made = output(&[&["keys", "curve"], &dir[..], names].concat());
            assert_eq!(made.status.code(), Some(0), "{}", made.stderr);
        }
        let text = std::fs::read_to_string(repository().join("examples/cluster.yaml")).unwrap();
        let keys = "security:\n  transport:\n    zmq:\n      curve:\n        \
                    server_public_key: \"${SERVER_PUBLIC}\"\n        \
                    server_secret_key: \"${SERVER_SECRET:-}\"\n        \
                    client_public_key: \"${CLIENT_PUBLIC}\"\n        \
                    client_secret_key: \"${CLIENT_SECRET}\"\n";
        Self { folder, file: File::new(&(text + keys)), ports: ports() }
    }

    /// A command of this topology, with some of its keys from other files.
    fn command(&self, args: &[&str], others: Keys<'_>) -> Command {
        let mut command = lictor(&[&[args[0], self.file.path(), "--json"], &args[1..]].concat());
        with_ports(&mut command, self.ports);
        for (variable, file) in KEYS.iter().chain(others) {
            command.env(variable, std::fs::read_to_string(self.folder.join(file)).unwrap());
        }
        command
    }

    /// A worker that somebody else starts, with other keys.
    fn stranger(&self, others: Keys<'_>) -> Logged {
        Logged::of(self.command(&["worker", "--process", "vault", "--for", "50s"], others))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const OTHER_CLIENT: [(&str, &str); 2] =
    [("CLIENT_PUBLIC", "other.pub"), ("CLIENT_SECRET", "other.key")];

#[test]
fn processes_with_the_keys_run_and_one_with_others_is_told_why_not() {
    let place = Place::new("run");
    // The first does not find a forwarder yet, and is told the greater trouble when there is one.
    let mut early = place.stranger(&OTHER_CLIENT);
    early.line("Connection refused");
    let mut run = Running::of(place.command(&["run"], &[]));
    run.wait_for(of("started", "price"));
    let why = early.line("it does not let in our client_public_key");
    assert!(why.contains("no connection to the forwarder at tcp://127.0.0.1:"), "{why}");
    assert!(why.contains("take a pair that it allows; trying on"), "{why}");
    assert!(why.contains("in security.transport.zmq.curve are not the pair"), "{why}");
    assert_eq!(early.end(), Some(0));
    // One that takes another process for the forwarder, and one that enciphers nothing.
    let mut lost =
        place.stranger(&[("SERVER_PUBLIC", "other.pub"), ("SERVER_SECRET", "other.key")]);
    lost.line("server_public_key is not its key");
    assert_eq!(lost.end(), Some(0));
    let mut plain = lictor(&[
        "worker",
        "examples/cluster.yaml",
        "--process",
        "vault",
        "--json",
        "--for",
        "50s",
    ]);
    with_ports(&mut plain, place.ports);
    let mut plain = Logged::of(plain);
    plain.line("the peer wants the mechanism \"CURVE\"");
    assert_eq!(plain.end(), Some(0));
    // Nobody else has noticed.
    let before = run.wait_for(|event| event["event"] == "stats");
    let more = |event: &Value| {
        event["event"] == "stats" && answered(event, "sales") > answered(&before, "sales") + 5
    };
    run.wait_for(more);
    run.signal(Signal::SIGTERM);
    let rest = run.rest();
    assert_eq!(rest.status.code(), Some(0));
    for process in ["stages", "vault"] {
        assert!(rest.lines().iter().any(of("process_ended", process)), "{}", rest.stdout);
    }
    assert!(!rest.lines().iter().any(of("crashed", "till")), "{}", rest.stdout);
}

#[test]
fn keys_that_do_not_belong_together_are_a_fault_of_the_file() {
    let place = Place::new("faults");
    let rows: [(&str, Keys<'_>, &str); 3] = [
        (
            "run",
            &[("CLIENT_SECRET", "other.key")],
            "the client's public key is not that of its secret key: take both of one pair",
        ),
        (
            "run",
            &[("SERVER_SECRET", "other.key")],
            "server_public_key is not that of server_secret_key: take both of one pair",
        ),
        ("worker", &[("CLIENT_PUBLIC", "other.pub")], "the client's public key is not"),
    ];
    for (command, others, expected) in rows {
        let args =
            if command == "run" { vec!["run"] } else { vec!["worker", "--process", "vault"] };
        let refused = place.command(&args, others).output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        let expected = format!("error: security.transport.zmq.curve: {expected}");
        assert!(said.contains(&expected), "{said}");
    }
    // The process of the tree runs the forwarder, and needs its secret key.
    let mut command = place.command(&["run"], &[]);
    let refused = command.env_remove("SERVER_SECRET").output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("needs server_secret_key"), "{said}");
}
