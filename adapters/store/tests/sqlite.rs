//! Checkpoints survive the store that wrote them, and share nothing with what was handed in.

use std::path::PathBuf;

use lictor_runtime::{StateStore as _, StoreError};
use lictor_store::SqliteStore;
use serde_json::json;

fn wait<T>(future: lictor_runtime::StoreFuture<'_, T>) -> Result<T, StoreError> {
    let mut future = future;
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => panic!("the store works in place"),
    }
}

/// A file of a database and what SQLite puts beside it. All of it goes when this is dropped, which
/// must be after every store on it: closing writes again.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let name = format!("lictor-{}-{name}.db", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.remove();
        file
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", self.0.display()));
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.remove();
    }
}

#[test]
fn a_checkpoint_survives_the_store() {
    let file = File::new("survives");
    let store = SqliteStore::open(&file.0).unwrap();
    wait(store.set("counter", json!({"n": 1, "list": [1, 2]}))).unwrap();
    wait(store.set("counter", json!({"n": 2}))).unwrap();
    wait(store.set("other", json!(null))).unwrap();
    drop(store);
    let store = SqliteStore::open(&file.0).unwrap();
    assert_eq!(wait(store.get("counter")).unwrap(), Some(json!({"n": 2})));
    assert_eq!(wait(store.list()).unwrap(), ["counter", "other"]);
    wait(store.delete("counter")).unwrap();
    wait(store.delete("counter")).unwrap();
    assert_eq!(wait(store.get("counter")).unwrap(), None);
}

#[test]
fn a_file_that_is_no_database_is_named_in_the_error() {
    let file = File::new("garbage");
    std::fs::write(&file.0, "not a database, but long enough to be looked at twice").unwrap();
    let error = SqliteStore::open(&file.0).unwrap_err();
    assert!(error.0.contains("garbage.db"), "{error}");
}

#[test]
fn a_state_that_is_not_json_is_an_error_and_not_a_default() {
    let file = File::new("damaged");
    drop(SqliteStore::open(&file.0).unwrap());
    let raw = rusqlite::Connection::open(&file.0).unwrap();
    raw.execute("INSERT INTO agent_state VALUES ('a', '{broken')", []).unwrap();
    let store = SqliteStore::open(&file.0).unwrap();
    assert!(wait(store.get("a")).unwrap_err().0.contains("not JSON"));
}
