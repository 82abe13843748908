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

fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("lictor-{}-{name}.db", std::process::id()));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    path
}

#[test]
fn a_checkpoint_survives_the_store() {
    let path = file("survives");
    let store = SqliteStore::open(&path).unwrap();
    wait(store.set("counter", json!({"n": 1, "list": [1, 2]}))).unwrap();
    wait(store.set("counter", json!({"n": 2}))).unwrap();
    wait(store.set("other", json!(null))).unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(wait(store.get("counter")).unwrap(), Some(json!({"n": 2})));
    assert_eq!(wait(store.list()).unwrap(), ["counter", "other"]);
    wait(store.delete("counter")).unwrap();
    wait(store.delete("counter")).unwrap();
    assert_eq!(wait(store.get("counter")).unwrap(), None);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_named_in_the_error() {
    let path = file("garbage");
    std::fs::write(&path, "not a database, but long enough to be looked at twice").unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(error.0.contains("garbage.db"), "{error}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_state_that_is_not_json_is_an_error_and_not_a_default() {
    let path = file("damaged");
    drop(SqliteStore::open(&path).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("INSERT INTO agent_state VALUES ('a', '{broken')", []).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    assert!(wait(store.get("a")).unwrap_err().0.contains("not JSON"));
    std::fs::remove_file(path).unwrap();
}
