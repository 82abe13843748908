//! `lictor keys`.
//!
//! The files are those of civitas, so that a key made here signs there, and the other way round. A
//! private key is never shown. A command does all that it can: what is wrong with one name is said,
//! and the others are done.

mod curve;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use lictor::wire::system::{KeyDir, KeyFileError, PublicKeys, System};
use lictor::wire::{Ambient as _, OldKey, UnixTime};
use serde_json::{Value, json};

use crate::Outcome;
use crate::duration;
use crate::output::{complain, print};

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Makes keys for names that have none; never overwrites one.
    ///
    /// A private key is kept in DIR/NAME/id_ed25519, readable by its owner alone, and the public
    /// one beside it, with the ending .pub. Give the public keys to whoever must check signatures.
    Create(CreateArgs),
    /// Shows public keys, and how long replaced ones still count.
    Show(ShowArgs),
    /// Replaces keys. The old public keys count for a while longer.
    ///
    /// They are put on the list DIR/NAME/id_ed25519.pub.old. Give it, with the new public key, to
    /// whoever checks signatures before that time is over.
    Rotate(RotateArgs),
    /// Makes pairs of keys of CURVE, with which ZeroMQ enciphers; never overwrites one.
    ///
    /// A pair is DIR/NAME.key, readable by its owner alone, and DIR/NAME.pub: the files, and the
    /// names, of `civitas security init zmq`. The keys are for `security.transport.zmq.curve` of a
    /// topology file.
    Curve(CurveArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The folder of keys.
    #[arg(long, value_name = "DIR", default_value = "civitas-keys")]
    dir: PathBuf,
    /// Writes a line of JSON for each name.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    place: Place,
    /// Agents, or nodes such as node-1.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    place: Place,
    /// Agents or nodes; by default all that have a key.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    place: Place,
    /// How long the old keys count, such as 10m or 24h.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "24h",
        allow_hyphen_values = true)]
    keep: Duration,
    /// Agents or nodes.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CurveArgs {
    #[command(flatten)]
    place: Place,
    /// Whose; by default the forwarder's, and its clients'.
    #[arg(value_name = "NAME", default_values = ["zmq_server", "zmq_client"])]
    names: Vec<String>,
}

pub(crate) fn keys(command: &KeysCommand) -> Outcome {
    let now = System.unix_time();
    match command {
        KeysCommand::Curve(args) => curve::create(args),
        KeysCommand::Create(CreateArgs { place, names }) => {
            each(place, names, now, |keys, name| keys.create(name).map(drop))
        }
        KeysCommand::Rotate(RotateArgs { place, keep, names }) => {
            each(place, names, now, |keys, name| keys.rotate(name, now, *keep).map(drop))
        }
        KeysCommand::Show(ShowArgs { place, names }) if names.is_empty() => {
            match KeyDir::new(&place.dir).names() {
                Ok(names) => {
                    if names.is_empty() && !place.json {
                        complain(&format!("there are no keys in {}\n", place.dir.display()));
                    }
                    each(place, &names, now, |_, _| Ok(()))
                }
                Err(error) => say(place, None, &error),
            }
        }
        KeysCommand::Show(ShowArgs { place, names }) => each(place, names, now, |_, _| Ok(())),
    }
}

/// Does something with each name, and shows its public keys then.
fn each(
    place: &Place,
    names: &[String],
    now: UnixTime,
    mut act: impl FnMut(&KeyDir, &str) -> Result<(), KeyFileError>,
) -> Outcome {
    let keys = KeyDir::new(&place.dir);
    let mut outcome = Outcome::Clean;
    for name in names {
        match act(&keys, name).and_then(|()| keys.public(name)) {
            Ok(public) => {
                let text = if place.json {
                    json_of(name, &public, now).to_string() + "\n"
                } else {
                    text_of(name, &public, now)
                };
                if print(&text).is_err() {
                    return Outcome::Failed;
                }
            }
            Err(error) => outcome = say(place, Some(name), &error),
        }
    }
    outcome
}

fn say(place: &Place, name: Option<&str>, error: &impl Display) -> Outcome {
    if place.json {
        let line = json!({ "name": name, "error": error.to_string() });
        // If the reader is gone, so is the need to say it.
        let _ = print(&format!("{line}\n"));
    } else {
        let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
        complain(&format!("error: {name}{error}\n"));
    }
    Outcome::BadInput
}

fn text_of(name: &str, public: &PublicKeys, now: UnixTime) -> String {
    let mut text = format!("{name} {}\n", public.key.to_base64());
    for OldKey { key, until } in &public.old {
        let left = until.as_millis().checked_sub(now.as_millis());
        let left = match left {
            Some(left) => format!("counts for {} s more", left / 1000),
            None => "counts no more".to_owned(),
        };
        text += &format!("  before: {} {left}\n", key.to_base64());
    }
    text
}

fn json_of(name: &str, public: &PublicKeys, now: UnixTime) -> Value {
    let old = public.old.iter().map(|old| {
        json!({
            "public_key": old.key.to_base64(),
            "until": old.until.as_millis() / 1000,
            "counts": old.until >= now,
        })
    });
    json!({
        "name": name,
        "public_key": public.key.to_base64(),
        "old": old.collect::<Vec<_>>(),
    })
}
