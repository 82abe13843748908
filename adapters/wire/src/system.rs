//! What touches the machine: its clock, its entropy, and the files in which keys are kept.
//!
//! The layout is that of civitas: a folder for each name, with `id_ed25519`, the seed in base64,
//! which its owner alone may read, and `id_ed25519.pub`, the public key. Beside them
//! `id_ed25519.pub.old` holds the keys that were replaced and still count. A file is written whole
//! under another name and then put in place, so that nobody ever reads half of one.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lictor_kernel::{NameError, Names};
use zeroize::Zeroizing;

use crate::key::{KeyError, PublicKey, SecretKey};
use crate::keyfile::{OldKey, OldKeysError, read_old_keys, write_old_keys};
use crate::keyring::{KEYS_PER_NAME_MAX, Keyring, KeyringFull, SIGNERS_MAX};
use crate::time::{Ambient, UnixTime};

/// No key file is longer, in bytes.
const LONGEST: u64 = 4096;

const SECRET: &str = "id_ed25519";
const PUBLIC: &str = "id_ed25519.pub";
const OLD: &str = "id_ed25519.pub.old";

/// The clock and the entropy of this machine.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct System;

impl Ambient for System {
    /// A clock that stands before 1970 is taken to stand at its start.
    fn unix_time(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixTime::default().saturating_add(since)
    }

    fn nonce(&self) -> Option<[u8; 16]> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).ok().map(|()| nonce)
    }
}

/// Whether keys that are not there are made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// They are made when they are needed first (`auto`, civitas's default).
    #[default]
    Auto,
    /// Somebody has put them there; one that is missing is a fault (`provisioned`).
    Provisioned,
}

/// The public side of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKeys {
    /// The key with which it signs now.
    pub key: PublicKey,
    /// Keys that it has replaced, those that count no more included.
    pub old: Vec<OldKey>,
}

/// A folder of keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyDir(PathBuf);

/// Why a key was not read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The name is none, so no file can be named after it.
    Name(NameError),
    /// There is no such key.
    Missing(PathBuf),
    /// There is such a key, and it is not overwritten.
    Exists(PathBuf),
    /// Others can read the private key.
    TooOpen(PathBuf, u32),
    /// The file holds no key.
    Key(PathBuf, KeyError),
    /// The file holds no list of old keys.
    OldKeys(PathBuf, OldKeysError),
    /// The file is longer than any key.
    TooLong(PathBuf),
    /// The public key is not that of the private one; this text is.
    Differs(PathBuf, String),
    /// The name was given new keys so often that too many old ones still count.
    TooManyOld,
    /// There are too many keys.
    Full(KeyringFull),
    /// The machine has no entropy to give.
    NoEntropy,
    /// The machine refuses.
    Io(PathBuf, io::Error),
}

/// The command that makes the key which is missing at a path: `DIR/NAME/FILE`.
struct Create<'p>(&'p Path);

impl fmt::Display for Create<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lictor keys create")?;
        let Some(folder) = self.0.parent() else { return Ok(()) };
        let (Some(dir), Some(name)) = (folder.parent(), folder.file_name()) else { return Ok(()) };
        let (dir, name) = (dir.display().to_string(), name.to_string_lossy());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
        if dir.chars().all(is_plain) {
            write!(f, " --dir {dir} {name}")
        } else {
            write!(f, " --dir '{}' {name}", dir.replace('\'', r"'\''"))
        }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Missing(path) => {
                write!(f, "there is no key {}; make one: {}", path.display(), Create(path))
            }
            Self::Exists(path) => write!(
                f,
                "there is a key {} already; to replace it: lictor keys rotate",
                path.display()
            ),
            Self::TooOpen(path, mode) => write!(
                f,
                "others can read the private key {path} (mode {mode:04o}); run: chmod 600 {path}",
                path = path.display()
            ),
            Self::Key(path, error) => write!(f, "{}: {error}", path.display()),
            Self::OldKeys(path, error) => write!(f, "{}: {error}", path.display()),
            Self::TooLong(path) => {
                write!(f, "{} is longer than {LONGEST} bytes, which no key is", path.display())
            }
            Self::Differs(path, key) => write!(
                f,
                "{} is not the public key of the private one beside it; it should hold {}",
                path.display(),
                key
            ),
            Self::TooManyOld => write!(
                f,
                "{} old keys still count; wait until one of them does not",
                KEYS_PER_NAME_MAX - 1
            ),
            Self::Full(error) => error.fmt(f),
            Self::NoEntropy => f.write_str("the machine has no random bytes to give"),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl Error for KeyFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Io(_, error) = self { Some(error) } else { None }
    }
}

impl KeyDir {
    /// The keys in this folder, which need not exist yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Where the private key of a name is, or would be.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name).join(SECRET)
    }

    /// Where the public key of a name is, or would be: what others have of it is copied there.
    #[must_use]
    pub fn public_path(&self, name: &str) -> PathBuf {
        self.0.join(name).join(PUBLIC)
    }

    /// Makes keys for a name that has none.
    ///
    /// # Errors
    /// [`KeyFileError::Exists`] if it has one, and others.
    pub fn create(&self, name: &str) -> Result<SecretKey, KeyFileError> {
        let folder = self.folder(name)?;
        fs::create_dir_all(&folder).map_err(|error| io_error(&folder, error))?;
        let path = folder.join(SECRET);
        let key = new_key()?;
        create_file(&path, key.to_base64().as_bytes(), 0o600)?;
        put(&folder.join(PUBLIC), key.public().to_base64().as_bytes(), 0o644)?;
        Ok(key)
    }

    /// Reads the private key of a name.
    ///
    /// # Errors
    /// [`KeyFileError::Missing`]; [`KeyFileError::TooOpen`] if others can read it;
    /// [`KeyFileError::Differs`] if the public key beside it is another's; and others.
    pub fn load(&self, name: &str) -> Result<SecretKey, KeyFileError> {
        let folder = self.folder(name)?;
        let path = folder.join(SECRET);
        let text = Zeroizing::new(read(&path, true)?);
        let key = SecretKey::from_base64(&text);
        let key = key.map_err(|error| KeyFileError::Key(path, error))?;
        let path = folder.join(PUBLIC);
        match read_public(&path) {
            // civitas does not need it either.
            Err(KeyFileError::Missing(_)) => Ok(key),
            Ok(public) if public == key.public() => Ok(key),
            Ok(_) => Err(KeyFileError::Differs(path, key.public().to_base64())),
            Err(error) => Err(error),
        }
    }

    /// Reads the private key of a name, or makes what is missing if the mode says so: both keys, or
    /// the public one, where whoever made them was stopped in between.
    ///
    /// # Errors
    /// As [`KeyDir::load`] and [`KeyDir::create`].
    pub fn open(&self, name: &str, mode: Mode) -> Result<SecretKey, KeyFileError> {
        let loaded = self.load(name);
        if mode == Mode::Provisioned {
            return loaded;
        }
        let key = match loaded {
            Err(KeyFileError::Missing(_)) => match self.create(name) {
                // Another process was faster.
                Err(KeyFileError::Exists(_)) => self.load(name),
                created => created,
            },
            loaded => loaded,
        }?;
        let path = self.folder(name)?.join(PUBLIC);
        if !path.exists() {
            put(&path, key.public().to_base64().as_bytes(), 0o644)?;
        }
        Ok(key)
    }

    /// Replaces the keys of a name. What it has signed before counts for `keep` longer, in whole
    /// seconds, where the public keys are read from this folder, or a copy of it made since.
    ///
    /// The old key is put on the list first, then the private key is replaced, then the public
    /// one: whatever stops this between two of them, no message is refused that was signed before.
    ///
    /// # Errors
    /// As [`KeyDir::load`]; [`KeyFileError::TooManyOld`] if three old keys still count.
    pub fn rotate(
        &self,
        name: &str,
        now: UnixTime,
        keep: Duration,
    ) -> Result<SecretKey, KeyFileError> {
        let folder = self.folder(name)?;
        let replaced = self.load(name)?.public();
        let path = folder.join(OLD);
        let mut old = read_old(&path)?;
        old.retain(|old| old.until >= now && old.key != replaced);
        if old.len() + 1 >= KEYS_PER_NAME_MAX {
            return Err(KeyFileError::TooManyOld);
        }
        old.push(OldKey { key: replaced, until: now.saturating_add(keep) });
        put(&path, write_old_keys(&old).as_bytes(), 0o644)?;
        let key = new_key()?;
        put(&folder.join(SECRET), key.to_base64().as_bytes(), 0o600)?;
        put(&folder.join(PUBLIC), key.public().to_base64().as_bytes(), 0o644)?;
        Ok(key)
    }

    /// Reads the public keys of a name. The private one need not be there.
    ///
    /// # Errors
    /// [`KeyFileError::Missing`], and others.
    pub fn public(&self, name: &str) -> Result<PublicKeys, KeyFileError> {
        let folder = self.folder(name)?;
        Ok(PublicKeys {
            key: read_public(&folder.join(PUBLIC))?,
            old: read_old(&folder.join(OLD))?,
        })
    }

    /// The names that have a public key here, in order. A folder that is not there has none.
    ///
    /// # Errors
    /// [`KeyFileError::Io`], [`KeyFileError::Full`].
    pub fn names(&self) -> Result<Vec<String>, KeyFileError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error(&self.0, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| io_error(&self.0, error))?;
            // What is no name is somebody else's.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if Names::check_system(&name).is_err() || !entry.path().join(PUBLIC).exists() {
                continue;
            }
            if names.len() >= SIGNERS_MAX {
                return Err(KeyFileError::Full(KeyringFull::Names));
            }
            names.push(name);
        }
        names.sort();
        Ok(names)
    }

    /// Trusts all names that have a public key here, with the old keys that still count.
    ///
    /// # Errors
    /// As [`KeyDir::names`] and [`KeyDir::public`].
    pub fn keyring(&self, now: UnixTime) -> Result<Keyring, KeyFileError> {
        let mut keyring = Keyring::new();
        for name in self.names()? {
            let PublicKeys { key, old } = self.public(&name)?;
            for OldKey { key, until } in old.into_iter().filter(|old| old.until >= now) {
                keyring.trust_until(name.clone(), key, until).map_err(KeyFileError::Full)?;
            }
            // Last, so that the present key counts without end, were it on the list too.
            keyring.trust(name, key).map_err(KeyFileError::Full)?;
        }
        Ok(keyring)
    }

    fn folder(&self, name: &str) -> Result<PathBuf, KeyFileError> {
        // The grammar has no separators, and no tokens that are empty, so it stays in the folder.
        Names::check_system(name).map_err(KeyFileError::Name)?;
        Ok(self.0.join(name))
    }
}

fn new_key() -> Result<SecretKey, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|_| KeyFileError::NoEntropy)?;
    Ok(SecretKey::from_seed(&seed))
}

fn read_public(path: &Path) -> Result<PublicKey, KeyFileError> {
    let text = read(path, false)?;
    PublicKey::from_base64(&text).map_err(|error| KeyFileError::Key(path.to_owned(), error))
}

fn read_old(path: &Path) -> Result<Vec<OldKey>, KeyFileError> {
    match read(path, false) {
        Ok(text) => {
            read_old_keys(&text).map_err(|error| KeyFileError::OldKeys(path.to_owned(), error))
        }
        Err(KeyFileError::Missing(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn read(path: &Path, is_secret: bool) -> Result<Vec<u8>, KeyFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyFileError::Missing(path.to_owned()));
        }
        Err(error) => return Err(io_error(path, error)),
    };
    if is_secret {
        // Of the file that was opened, and not of what has its name by now.
        check_mode(path, &file)?;
    }
    // All at once, so that no copy of a secret is left behind by a vector that grows.
    let mut text = Vec::with_capacity(usize::try_from(LONGEST + 1).unwrap_or_default());
    let mut file = file.take(LONGEST + 1);
    file.read_to_end(&mut text).map_err(|error| io_error(path, error))?;
    if u64::try_from(text.len()).is_ok_and(|len| len > LONGEST) {
        return Err(KeyFileError::TooLong(path.to_owned()));
    }
    Ok(text)
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata().map_err(|error| io_error(path, error))?.permissions().mode();
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(KeyFileError::TooOpen(path.to_owned(), mode & 0o7777))
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &File) -> Result<(), KeyFileError> {
    Ok(())
}

/// Writes a file that is not there yet, whole or not at all, with this mode whatever the mask of
/// the process is.
///
/// # Errors
/// [`KeyFileError::Exists`] if there is something of that name: it is left as it is. Others.
pub fn create_file(path: &Path, text: &[u8], mode: u32) -> Result<(), KeyFileError> {
    let ready = write_beside(path, text, mode)?;
    // A link, unlike a rename, does not replace what is there.
    let linked = fs::hard_link(&ready, path);
    let removed = fs::remove_file(&ready);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyFileError::Exists(path.to_owned()))
        }
        linked => linked.and(removed).map_err(|error| io_error(path, error)),
    }
}

/// Writes a file, in the place of what is there.
fn put(path: &Path, text: &[u8], mode: u32) -> Result<(), KeyFileError> {
    let ready = write_beside(path, text, mode)?;
    fs::rename(&ready, path).map_err(|error| io_error(path, error))
}

/// Writes a file that nobody knows yet, in the same folder, and says where.
fn write_beside(path: &Path, text: &[u8], mode: u32) -> Result<PathBuf, KeyFileError> {
    let mut tag = [0; 8];
    getrandom::fill(&mut tag).map_err(|_| KeyFileError::NoEntropy)?;
    let ready = path.with_extension(format!("new-{:016x}", u64::from_be_bytes(tag)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(&ready).and_then(|mut file| {
        #[cfg(unix)]
        {
            // Whatever the mask of the process is: a public key is for others.
            use std::os::unix::fs::PermissionsExt as _;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        file.write_all(text)?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(ready),
        Err(error) => {
            // What is left of it is of no use.
            let _ = fs::remove_file(&ready);
            Err(io_error(&ready, error))
        }
    }
}

fn io_error(path: &Path, error: io::Error) -> KeyFileError {
    KeyFileError::Io(path.to_owned(), error)
}
