//! Checkpoints in an SQLite file.
//!
//! The table is that of civitas (`agent_state(agent_name TEXT PRIMARY KEY, state TEXT)`, the state
//! as JSON), so that a file can be handed from one to the other and looked at with any SQLite tool.
//!
//! ```
//! use lictor_runtime::StateStore;
//! use lictor_store::SqliteStore;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqliteStore::in_memory()?;
//! # let _: &dyn StateStore = &store;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lictor_runtime::{StateStore, StoreError, StoreFuture, Value};
use rusqlite::{Connection, OptionalExtension as _, params};

/// A [`StateStore`] in an SQLite file, in write-ahead mode: a checkpoint that was reported as kept
/// survives the end of the process, and with `synchronous = FULL`, which is set, a power cut.
///
/// Operations run in place, on the thread that polls them: a write takes a fraction of a
/// millisecond on an ordinary disk.
pub struct SqliteStore {
    connection: Mutex<Connection>,
    path: Option<PathBuf>,
}

impl SqliteStore {
    /// Opens the file, and makes it if it is not there.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a database.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let connection = Connection::open(path).map_err(|error| at(path, &error))?;
        Self::prepare(connection, Some(path.to_owned())).map_err(|error| at(path, &error))
    }

    /// A database in memory, for tests.
    ///
    /// # Errors
    /// SQLite has no memory.
    pub fn in_memory() -> Result<Self, StoreError> {
        let connection = Connection::open_in_memory().map_err(failed)?;
        Self::prepare(connection, None).map_err(failed)
    }

    fn prepare(connection: Connection, path: Option<PathBuf>) -> rusqlite::Result<Self> {
        // Another process that holds the file (a backup, a look inside) is waited for.
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS agent_state (
                agent_name TEXT PRIMARY KEY,
                state TEXT NOT NULL
            )",
        )?;
        Ok(Self { connection: Mutex::new(connection), path })
    }

    fn with<T>(&self, act: impl FnOnce(&Connection) -> Result<T, StoreError>) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
    {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(std::future::ready(act(&connection)))
    }
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError(error.to_string())
}

fn at(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError(format!("{}: {error}", path.display()))
}

impl Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StateStore for SqliteStore {
    fn get<'a>(&'a self, agent: &'a str) -> StoreFuture<'a, Option<Value>> {
        self.with(|connection| {
            let text: Option<String> = connection
                .prepare_cached("SELECT state FROM agent_state WHERE agent_name = ?1")
                .and_then(|mut query| query.query_row(params![agent], |row| row.get(0)).optional())
                .map_err(failed)?;
            text.map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| StoreError(format!("state of {agent:?} is not JSON: {error}")))
        })
    }

    fn set<'a>(&'a self, agent: &'a str, state: Value) -> StoreFuture<'a, ()> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO agent_state (agent_name, state) VALUES (?1, ?2)
                     ON CONFLICT (agent_name) DO UPDATE SET state = excluded.state",
                )
                .and_then(|mut query| query.execute(params![agent, state.to_string()]))
                .map(|_| ())
                .map_err(failed)
        })
    }

    fn delete<'a>(&'a self, agent: &'a str) -> StoreFuture<'a, ()> {
        self.with(|connection| {
            connection
                .prepare_cached("DELETE FROM agent_state WHERE agent_name = ?1")
                .and_then(|mut query| query.execute(params![agent]))
                .map(|_| ())
                .map_err(failed)
        })
    }

    fn list(&self) -> StoreFuture<'_, Vec<String>> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT agent_name FROM agent_state ORDER BY agent_name")
                .and_then(|mut query| {
                    query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()
                })
                .map_err(failed)
        })
    }
}
