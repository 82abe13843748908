//! Every input of the fuzz targets that was worth keeping, played by an ordinary compiler.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lictor_wire::fuzz;
use support::{bytes, text, vectors};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// All files of one target.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder(target)).expect("a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Plays them as they are, and with each byte changed or what follows it cut off; a panic is a
/// failure, and names its file.
fn replay(target: &str, least: usize, play: fn(&[u8])) {
    let inputs = inputs(target);
    assert!(inputs.len() >= least, "{target} has a corpus worth its name");
    for (path, input) in inputs {
        // The harness shows it if this one panics.
        eprintln!("{}", path.display());
        play(&input);
        let step = input.len() / 200 + 1;
        for at in (0..input.len()).step_by(step) {
            play(&input[..at]);
            let mut changed = input.clone();
            changed[at] ^= 1 << (at % 8);
            play(&changed);
        }
    }
}

#[test]
fn wire_msgpack() {
    replay("wire_msgpack", 30, fuzz::msgpack);
}

#[test]
fn wire_json() {
    replay("wire_json", 30, fuzz::json);
}

#[test]
fn wire_signed() {
    replay("wire_signed", 4, fuzz::signed);
}

#[test]
fn wire_sealed() {
    replay("wire_sealed", 2, fuzz::sealed);
}

#[test]
fn wire_keys() {
    replay("wire_keys", 4, fuzz::keys);
}

/// The seeds of the corpora are the golden vectors, whole and unchanged. With LICTOR_SEED_CORPUS
/// set, those that are missing are written.
#[test]
fn the_corpora_hold_the_golden_vectors() {
    let vectors = vectors();
    let list = |key: &str| vectors[key].as_array().unwrap().clone();
    let mut seeds = BTreeSet::new();
    for vector in list("messages") {
        let name = text(&vector["name"]).to_owned();
        seeds.insert(("wire_msgpack", name.clone(), bytes(&vector["msgpack_hex"])));
        seeds.insert(("wire_json", name, bytes(&vector["json_hex"])));
    }
    for vector in list("orjson_examples") {
        let name = format!("{}_compact", text(&vector["name"]));
        seeds.insert(("wire_json", name, bytes(&vector["json_hex"])));
    }
    for vector in list("signed") {
        let name = text(&vector["name"]).to_owned();
        seeds.insert(("wire_signed", name, bytes(&vector["envelope_hex"])));
        let public = text(&vector["public_key_b64"]);
        seeds.insert(("wire_keys", "public".to_owned(), public.into()));
        seeds.insert(("wire_keys", "old".to_owned(), format!("{public} 1700000000\n").into()));
    }
    let plain = bytes(&vectors["messages"][0]["msgpack_hex"]);
    seeds.insert(("wire_signed", "plain".to_owned(), plain));
    seeds.insert((
        "wire_keys",
        "secret".to_owned(),
        support::a_key().to_base64().as_bytes().into(),
    ));
    seeds.insert(("wire_keys", "no_key".to_owned(), b"AAAA 1\n".into()));
    let frame = support::unhex(include_str!("data/sealed_v3.hex").trim());
    seeds.insert(("wire_sealed", "golden".to_owned(), frame.clone()));
    let end = frame.len() - 64;
    let stripped = [&frame[..end - 2], &[0xc4, 0]].concat();
    seeds.insert(("wire_sealed", "stripped".to_owned(), stripped));
    for (target, name, seed) in seeds {
        let path = folder(target).join(name);
        if std::env::var_os("LICTOR_SEED_CORPUS").is_some() {
            std::fs::create_dir_all(folder(target)).unwrap();
            std::fs::write(&path, &seed).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == seed, "{}", path.display());
    }
}
