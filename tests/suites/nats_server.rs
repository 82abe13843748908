//! A real nats-server of one's own, to be killed and started again.
#![allow(dead_code, reason = "not every test does everything with it")]

use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ports::free_port;

/// A server, and the folder that is its own. Both go when it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    config: String,
    child: Option<Child>,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Server {
    /// A server with a store for streams.
    pub(crate) fn new() -> Self {
        Self::with(|_| String::new())
    }

    /// A server with more in its configuration.
    pub(crate) fn with(more: impl FnOnce(&Path) -> String) -> Self {
        Self::configured(|folder| {
            let store = folder.join("store");
            format!("jetstream {{ store_dir: {store:?}, max_file_store: 1GB }}\n{}", more(folder))
        })
    }

    /// A server with nothing but this in its configuration; what it needs may be put into the folder.
    pub(crate) fn configured(text: impl FnOnce(&Path) -> String) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("lictor-nats-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let config = format!("listen: 127.0.0.1:{port}\n{}", text(&folder));
        let mut server = Self { port, folder, config, child: None };
        server.start();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it, on the same port and with the same store.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let program = std::env::var("LICTOR_NATS_SERVER").expect("run tests/run");
        let config = self.folder.join("server.conf");
        std::fs::write(&config, &self.config).unwrap();
        let log = self.folder.join("log");
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).arg("-l").arg(&log);
        self.child = Some(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let end = Instant::now() + Duration::from_secs(20);
        while !self.is_up() {
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < end, "the server does not start: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it greets.
    fn is_up(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut word = [0; 4];
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.read_exact(&mut word).is_ok() && &word == b"INFO"
    }

    /// Throws away what it has stored. It must not run.
    pub(crate) fn forget(&self) {
        assert!(self.child.is_none(), "it runs");
        std::fs::remove_dir_all(self.folder.join("store")).unwrap();
    }

    /// Copies what it has stored, under a word.
    pub(crate) fn remember(&self, word: &str) {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(self.folder.join("store"))
            .arg(self.folder.join(word))
            .status();
        assert!(copied.unwrap().success());
    }

    /// Kills it, puts a copy back in place of what it has stored, and starts it again.
    pub(crate) fn recall(&mut self, word: &str) {
        self.kill();
        self.forget();
        std::fs::rename(self.folder.join(word), self.folder.join("store")).unwrap();
        self.start();
    }

    /// Has it stop by itself, with all flushed.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(told.unwrap().success());
        child.wait().unwrap();
    }

    /// Kills it, as kill -9 does: nothing is told, nothing is flushed.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
