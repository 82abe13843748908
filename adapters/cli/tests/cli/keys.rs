//! `lictor keys`.

use std::path::PathBuf;

use lictor::wire::SecretKey;

use crate::support::output;

/// A folder of keys, not made yet, that goes away with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("lictor-cli-keys-{}-{name}", std::process::id())))
    }

    fn run(&self, args: &[&str]) -> crate::support::Output {
        let dir = ["--dir", self.0.to_str().unwrap()];
        output(&[&["keys", args[0]], &dir[..], &args[1..]].concat())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn keys_are_made_once_and_shown_without_their_secret() {
    let folder = Folder::new("create");
    let made = folder.run(&["create", "orders", "node-1"]);
    assert_eq!((made.status.code(), made.stderr.as_str()), (Some(0), ""));
    let secret = std::fs::read(folder.0.join("orders/id_ed25519")).unwrap();
    let public = SecretKey::from_base64(&secret).unwrap().public().to_base64();
    assert!(made.stdout.starts_with(&format!("orders {public}\nnode-1 ")), "{}", made.stdout);
    let secret = String::from_utf8(secret).unwrap();
    assert!(!made.stdout.contains(&secret));
    // One that is there is kept, and the others are made all the same.
    let again = folder.run(&["create", "orders", "billing"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(again.stderr.contains("orders: there is a key"), "{}", again.stderr);
    assert!(again.stdout.starts_with("billing "), "{}", again.stdout);
    assert_eq!(std::fs::read_to_string(folder.0.join("orders/id_ed25519")).unwrap(), secret);
    let shown = folder.run(&["show", "--json"]);
    let lines = shown.lines();
    let names: Vec<_> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["billing", "node-1", "orders"]);
    assert_eq!(lines[2]["public_key"], public);
    assert!(!shown.stdout.contains(&secret));
}

#[test]
fn a_replaced_key_is_shown_with_its_time() {
    let folder = Folder::new("rotate");
    let first = folder.run(&["create", "orders", "--json"]).lines()[0]["public_key"].clone();
    let rotated = folder.run(&["rotate", "orders", "--keep", "1h", "--json"]);
    assert_eq!(rotated.status.code(), Some(0));
    let line = rotated.lines().remove(0);
    assert_ne!(line["public_key"], first);
    assert_eq!((&line["old"][0]["public_key"], &line["old"][0]["counts"]), (&first, &true.into()));
    let shown = folder.run(&["show", "orders"]);
    let before = format!("  before: {} counts for 3", first.as_str().unwrap());
    assert!(shown.stdout.contains(&before), "{}", shown.stdout);
}

#[test]
fn what_cannot_be_done_is_said_with_its_remedy() {
    let folder = Folder::new("faults");
    let none = folder.run(&["show"]);
    assert_eq!((none.status.code(), none.stdout.as_str()), (Some(0), ""));
    assert!(none.stderr.starts_with("there are no keys in "), "{}", none.stderr);
    let missing = folder.run(&["rotate", "orders"]);
    assert_eq!(missing.status.code(), Some(2));
    let command = format!("make one: lictor keys create --dir {} orders", folder.0.display());
    assert!(missing.stderr.contains(&command), "{}", missing.stderr);
    let named = folder.run(&["create", "a/b", "--json"]);
    assert_eq!(named.status.code(), Some(2));
    let error = &named.lines()[0]["error"];
    assert!(error.as_str().unwrap().contains("not allowed in a name"), "{error}");
}

#[test]
fn pairs_of_curve_are_made_once_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("curve");
    let made = folder.run(&["curve"]);
    assert_eq!((made.status.code(), made.stderr.as_str()), (Some(0), ""));
    let file = |name: &str| folder.0.join(name);
    let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    for (line, name) in made.stdout.lines().zip(["zmq_server", "zmq_client"]) {
        let (secret, public) = (text(&format!("{name}.key")), text(&format!("{name}.pub")));
        assert_eq!(line, format!("{name} {public}"));
        let key: lictor::zmq::SecretKey = secret.parse().unwrap();
        assert_eq!(key.public().to_string(), public, "it is a pair");
        let mode = |end: &str| {
            file(&format!("{name}.{end}")).metadata().unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("key"), mode("pub")), (0o600, 0o644));
        assert!(!made.stdout.contains(&secret));
    }
    // A pair of which one half is there is left alone, and the other half is not made.
    let before = text("zmq_server.key");
    std::fs::remove_file(file("zmq_client.key")).unwrap();
    let again = folder.run(&["curve", "--json", "zmq_server", "zmq_client", "mine", "a/b"]);
    assert_eq!(again.status.code(), Some(2));
    let lines = again.lines();
    let error = |at: usize| lines[at]["error"].as_str().unwrap_or_default();
    assert!(error(0).contains("zmq_server.key already; to replace the pair, move"), "{lines:?}");
    assert!(error(1).contains("zmq_client.pub already"), "{lines:?}");
    assert_eq!(lines[2]["public_key"], text("mine.pub"));
    assert_eq!(lines[2]["secret_file"], file("mine.key").to_str().unwrap());
    assert!(error(3).contains("not allowed in a name"), "{lines:?}");
    assert_eq!(text("zmq_server.key"), before);
    let files = std::fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(files, 5, "two pairs and a half, and nothing else");
    // They are no keys of agents.
    assert_eq!(folder.run(&["show"]).stdout, "");
}
