//! `lictor keys curve`: pairs of keys for CURVE, in the files of civitas.
//!
//! A pair is made whole or not at all: what is left of a first half would be taken for a pair.

use std::fs;

use lictor::kernel::Names;
use lictor::wire::system::{KeyFileError, create_file};
use lictor::zmq::{CurveConfig, PublicKey};
use serde_json::json;

use super::{CurveArgs, Place, say};
use crate::Outcome;
use crate::output::print;

pub(super) fn create(CurveArgs { place, names }: &CurveArgs) -> Outcome {
    let mut outcome = Outcome::Clean;
    for name in names {
        match pair(place, name) {
            Ok(public) => {
                let text = if place.json {
                    let secret = place.dir.join(format!("{name}.key"));
                    let public = public.to_string();
                    json!({ "name": name, "public_key": public, "secret_file": secret }).to_string()
                } else {
                    format!("{name} {public}")
                };
                if print(&(text + "\n")).is_err() {
                    return Outcome::Failed;
                }
            }
            Err(error) => outcome = say(place, Some(name), &error),
        }
    }
    outcome
}

fn pair(place: &Place, name: &str) -> Result<PublicKey, String> {
    // The grammar has no separators, so it stays in the folder.
    Names::check_system(name).map_err(|error| error.to_string())?;
    let secret = CurveConfig::new_secret_key().map_err(|error| error.to_string())?;
    let folder = &place.dir;
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (key, public) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pub")));
    let refused = |error: KeyFileError| {
        let KeyFileError::Exists(path) = &error else { return error.to_string() };
        let path = path.display();
        format!("there is a key {path} already; to replace the pair, move both halves away")
    };
    create_file(&key, secret.to_z85().as_bytes(), 0o600).map_err(refused)?;
    let text = secret.public().to_string();
    create_file(&public, text.as_bytes(), 0o644).map_err(|error| {
        // It was made a moment ago, and nobody can have used it.
        let _ = fs::remove_file(&key);
        refused(error)
    })?;
    Ok(secret.public())
}
