//! Key files.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![cfg(unix)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lictor_wire::system::{KeyDir, KeyFileError, Mode, System};
use lictor_wire::{
    Ambient as _, KeyError, Limits, OldKey, OldKeysError, Policy, Refusal, SigningKeys, UnixTime,
    Verifier, read_old_keys, write_old_keys,
};
use support::{NOW, a_key, other_key};

/// A folder that goes away with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lictor-keys-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn keys(&self) -> KeyDir {
        KeyDir::new(&self.0)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("a").join(name)
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.file(name)).unwrap().permissions().mode() & 0o7777
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const HOUR: Duration = Duration::from_secs(3600);

// Whatever stopped the making of a key: others need the public one.
#[test]
fn a_public_key_that_is_missing_is_made_of_the_private_one() {
    let folder = Folder::new();
    let key = folder.keys().create("a").unwrap();
    fs::remove_file(folder.file("id_ed25519.pub")).unwrap();
    folder.keys().open("a", Mode::Provisioned).unwrap();
    assert!(folder.keys().public("a").is_err(), "what is provisioned is not changed");
    assert_eq!(folder.keys().open("a", Mode::Auto).unwrap().public(), key.public());
    assert_eq!(folder.keys().public("a").unwrap().key, key.public());
    assert_eq!(folder.mode("id_ed25519.pub"), 0o644);
}

#[test]
fn keys_are_kept_as_civitas_keeps_them() {
    let folder = Folder::new();
    let key = folder.keys().create("a").unwrap();
    let text = fs::read_to_string(folder.file("id_ed25519")).unwrap();
    assert_eq!(text, *key.to_base64());
    let text = fs::read_to_string(folder.file("id_ed25519.pub")).unwrap();
    assert_eq!(text, key.public().to_base64());
    assert_eq!((folder.mode("id_ed25519"), folder.mode("id_ed25519.pub")), (0o600, 0o644));
    assert_eq!(folder.keys().public_path("a"), folder.file("id_ed25519.pub"));
    assert_eq!(fs::read_dir(folder.0.join("a")).unwrap().count(), 2, "nothing else is left");
    let read = folder.keys().load("a").unwrap();
    assert_eq!(read.public(), key.public());
    // And what civitas has written, with or without a public key beside it.
    fs::write(folder.file("id_ed25519"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let differs = folder.keys().load("a").unwrap_err();
    let said = differs.to_string();
    assert!(said.contains(&a_key().public().to_base64()), "{said}");
    fs::remove_file(folder.file("id_ed25519.pub")).unwrap();
    assert_eq!(folder.keys().load("a").unwrap().public(), a_key().public());
}

#[test]
fn a_key_is_never_overwritten() {
    let folder = Folder::new();
    let key = folder.keys().create("a").unwrap();
    assert!(matches!(folder.keys().create("a"), Err(KeyFileError::Exists(_))));
    assert_eq!(folder.keys().load("a").unwrap().public(), key.public());
    assert_ne!(folder.keys().create("b").unwrap().public(), key.public());
    assert_eq!(folder.keys().names().unwrap(), ["a", "b"]);
}

#[test]
fn the_mode_says_whether_keys_are_made() {
    let folder = Folder::new();
    let missing = folder.keys().open("a", Mode::Provisioned);
    assert!(matches!(missing, Err(KeyFileError::Missing(_))));
    assert!(folder.keys().names().unwrap().is_empty(), "nothing was made");
    let made = folder.keys().open("a", Mode::Auto).unwrap();
    for mode in [Mode::Auto, Mode::Provisioned] {
        assert_eq!(folder.keys().open("a", mode).unwrap().public(), made.public());
    }
}

#[test]
fn processes_that_start_together_agree_on_a_key() {
    let folder = Folder::new();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let keys = folder.keys();
            std::thread::spawn(move || keys.open("a", Mode::Auto).unwrap().public())
        })
        .collect();
    let mut found: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    found.dedup();
    assert_eq!(found, [folder.keys().load("a").unwrap().public()]);
}

#[test]
fn a_private_key_that_others_can_read_is_refused() {
    let folder = Folder::new();
    folder.keys().create("a").unwrap();
    for mode in [0o640, 0o604, 0o660, 0o644] {
        fs::set_permissions(folder.file("id_ed25519"), Permissions::from_mode(mode)).unwrap();
        let said = folder.keys().load("a").unwrap_err().to_string();
        let path = folder.file("id_ed25519");
        assert!(said.ends_with(&format!("run: chmod 600 {}", path.display())), "{said}");
        assert!(matches!(folder.keys().open("a", Mode::Auto), Err(KeyFileError::TooOpen(..))));
    }
    fs::set_permissions(folder.file("id_ed25519"), Permissions::from_mode(0o400)).unwrap();
    assert!(folder.keys().load("a").is_ok());
}

#[test]
fn files_that_hold_no_key_are_named() {
    let folder = Folder::new();
    folder.keys().create("a").unwrap();
    let put = |text: &[u8]| fs::write(folder.file("id_ed25519"), text).unwrap();
    put(b"");
    let empty = folder.keys().load("a");
    assert!(matches!(empty, Err(KeyFileError::Key(_, KeyError::NotBase64))));
    put(&[b'A'; 5000]);
    assert!(matches!(folder.keys().load("a"), Err(KeyFileError::TooLong(_))));
    for name in ["", "..", "a/b", ".", "a b", "/etc"] {
        assert!(matches!(folder.keys().create(name), Err(KeyFileError::Name(_))), "{name}");
        assert!(matches!(folder.keys().load(name), Err(KeyFileError::Name(_))), "{name}");
    }
}

#[test]
fn a_replaced_key_counts_for_its_time_and_no_longer() {
    let folder = Folder::new();
    let keys = folder.keys();
    let old = keys.create("a").unwrap();
    let new = keys.rotate("a", NOW, HOUR).unwrap();
    assert_ne!(old.public(), new.public());
    assert_eq!(keys.load("a").unwrap().public(), new.public());
    assert_eq!((folder.mode("id_ed25519"), folder.mode("id_ed25519.pub.old")), (0o600, 0o644));
    let public = keys.public("a").unwrap();
    assert_eq!(public.key, new.public());
    // Whole seconds.
    let until = UnixTime::from_millis((NOW.as_millis() + 3_600_000) / 1000 * 1000);
    assert_eq!(public.old, [OldKey { key: old.public(), until }]);

    let message =
        lictor_wire::Message::new(support::fresh(), "t", [("n", 1_i64)]).between("a", "b");
    let open = |key, now| {
        let mut signing = SigningKeys::new();
        signing.set("a", key);
        let envelope = signing.seal(&message, [1; 16], &Limits::DEFAULT).unwrap();
        let policy = Policy { max_age: None, ..Policy::default() };
        let mut verifier = Verifier::new(keys.keyring(now).unwrap(), policy);
        verifier.open(&envelope, None, now, support::never).map(|opened| opened.is_verified)
    };
    let later = until.saturating_add(Duration::from_millis(1));
    assert_eq!(open(old.clone(), until), Ok(true));
    assert_eq!(open(old, later), Err(Refusal::Forged));
    assert_eq!((open(new.clone(), NOW), open(new, later)), (Ok(true), Ok(true)));
}

#[test]
fn keys_are_not_replaced_faster_than_they_run_out() {
    let folder = Folder::new();
    let keys = folder.keys();
    keys.create("a").unwrap();
    for _ in 0..3 {
        keys.rotate("a", NOW, HOUR).unwrap();
    }
    let before = keys.load("a").unwrap().public();
    assert!(matches!(keys.rotate("a", NOW, HOUR), Err(KeyFileError::TooManyOld)));
    assert_eq!(keys.load("a").unwrap().public(), before);
    assert!(keys.keyring(NOW).is_ok());
    let later = NOW.saturating_add(2 * HOUR);
    keys.rotate("a", later, HOUR).unwrap();
    assert_eq!(keys.public("a").unwrap().old.len(), 1, "what counts no more is taken off");
}

#[test]
fn lists_of_old_keys_are_read_line_by_line() {
    let key = a_key().public();
    let until = UnixTime::from_millis(1_700_000_000_000);
    let list = [OldKey { key, until }, OldKey { key: other_key(1).public(), until }];
    let text = write_old_keys(&list);
    assert!(text.starts_with(&format!("{} 1700000000\n", key.to_base64())));
    assert_eq!(read_old_keys(text.as_bytes()).unwrap(), list);
    assert_eq!(read_old_keys(b"").unwrap(), []);
    let with = |tail: &str| format!("\n{}{tail}", key.to_base64());
    for tail in ["", " ", " x", " -1", " +1", " 18446744073709551615", " 1 2"] {
        let read = read_old_keys(with(tail).as_bytes());
        assert_eq!(read, Err(OldKeysError::Line { line: 2 }), "{tail:?}");
    }
    let read = read_old_keys(b"key 1");
    assert_eq!(read, Err(OldKeysError::Key { line: 1, error: KeyError::NotBase64 }));
    let four = format!("{} 1\n", key.to_base64()).repeat(4);
    assert_eq!(read_old_keys(four.as_bytes()), Err(OldKeysError::TooMany));
}

#[test]
fn the_machine_has_a_clock_and_entropy() {
    let (first, second) = (System.nonce().unwrap(), System.nonce().unwrap());
    assert_ne!(first, second);
    assert!(System.unix_time() > UnixTime::from_millis(1_700_000_000_000));
}
