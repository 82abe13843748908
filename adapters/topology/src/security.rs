//! The block `security`. Nothing in it is ever repeated in a fault.

use crate::fields::{Field, Fields, Schema, Words};
use crate::network::{Curve, Identity, IdentityMode, NatsSecurity, Secret, Security, Signing, Tls};
use crate::reader::Reader;
use crate::tree::Item;

const SECURITY: Schema = Schema::new("`security`", &["identity", "signing", "transport"]);

const IDENTITY: Schema = Schema::new("`identity`", &["mode", "key_dir"]);

const SIGNING: Schema =
    Schema::new("`signing`", &["enabled", "algorithm", "require_verification", "allow_unsigned"]);

const TRANSPORT: Schema = Schema::new("the security of `transport`", &["zmq", "nats"]);

const CURVE: Schema = Schema::new(
    "`curve`",
    &[
        "enabled",
        "server_public_key",
        "server_secret_key",
        "client_public_key",
        "client_secret_key",
    ],
);

/// civitas takes the keys of `curve` also without that wrapper.
const ZMQ: Schema = Schema::new(
    "the security of `zmq`",
    &[
        "curve",
        "enabled",
        "server_public_key",
        "server_secret_key",
        "client_public_key",
        "client_secret_key",
    ],
);

const NATS: Schema = Schema::new("the security of `nats`", &["tls", "nkey_seed", "creds"]);

const TLS: Schema = Schema::new("`tls`", &["enabled", "cert", "key", "ca"]);

pub(crate) const MODES: Words<IdentityMode> =
    &[("auto", IdentityMode::Auto), ("provisioned", IdentityMode::Provisioned)];

/// Characters of a CURVE key in Z85.
const Z85_KEY: usize = 40;

impl<'a> Reader<'a> {
    pub(crate) fn security(&mut self, item: Item) -> Option<Security> {
        let fields = self.fields(item, item.span, &SECURITY)?;
        let identity = self.nullable(&fields, "identity", |r, item| r.identity(item)).or_default();
        let signing = self.nullable(&fields, "signing", |r, item| r.signing(item)).or_default();
        let transport = self.nullable(&fields, "transport", |reader, item| {
            let fields = reader.fields(item, item.span, &TRANSPORT)?;
            let curve = reader.nullable(&fields, "zmq", |r, item| r.zmq_security(item));
            let nats = reader.nullable(&fields, "nats", |r, item| r.nats_security(item));
            Some((curve.or_default(), nats.or_default()))
        });
        let (curve, nats) = transport.or_default();
        Some(Security { identity, signing, curve, nats })
    }

    fn identity(&mut self, item: Item) -> Option<Identity> {
        let fields = self.fields(item, item.span, &IDENTITY)?;
        let mode = self.field(&fields, "mode", |r, item| r.word(item, MODES)).or_default();
        let key_dir = self.field(&fields, "key_dir", |r, item| r.path(item));
        Some(Identity { mode, key_dir: key_dir.or(Identity::default().key_dir) })
    }

    fn signing(&mut self, item: Item) -> Option<Signing> {
        let fields = self.fields(item, item.span, &SIGNING)?;
        let default = Signing::default();
        let mut bool = |key, or| self.field(&fields, key, |r, item| r.bool(item)).or(or);
        let signing = Signing {
            enabled: bool("enabled", default.enabled),
            require_verification: bool("require_verification", default.require_verification),
            allow_unsigned: bool("allow_unsigned", default.allow_unsigned),
        };
        // civitas never looks at it; another word would mean that something else is believed.
        self.field(&fields, "algorithm", |r, item| r.word(item, &[("ed25519", ())]));
        Some(signing)
    }

    fn zmq_security(&mut self, item: Item) -> Option<Option<Curve>> {
        let fields = self.fields(item, item.span, &ZMQ)?;
        let Some(wrapper) = fields.get("curve") else { return self.curve(&fields) };
        for key in CURVE.keys {
            self.conflict(&fields, "curve", key);
        }
        self.under_key(&wrapper.key, |reader| {
            let fields = reader.fields(wrapper.value, wrapper.key_span, &CURVE)?;
            reader.curve(&fields)
        })
    }

    /// The keys, if they are used.
    fn curve(&mut self, fields: &Fields<'a>) -> Option<Option<Curve>> {
        let enabled = self.field(fields, "enabled", |r, item| r.bool(item));
        let mut key = |key| self.nullable(fields, key, |r, item| r.z85(item));
        let (server_public, client_public) = (key("server_public_key"), key("client_public_key"));
        let client_secret = key("client_secret_key");
        // Only one process need know it; for the others its variable may be empty.
        let server_secret = self.nullable(fields, "server_secret_key", |r, item| {
            if r.plain(item).is_some_and(str::is_empty) {
                Some(None)
            } else {
                r.z85(item).map(Some)
            }
        });
        let any = CURVE.keys.iter().any(|key| *key != "enabled" && fields.get(key).is_some());
        // Who gives keys wants them used: what was left out must not send in the clear.
        if !enabled.valid_or(any)? {
            if any {
                let message = format_args!("keys are given, but nothing is enciphered");
                if let Some(d) = self.warning("no-effect", fields.at, message) {
                    d.help("say `enabled: true`, or remove the keys");
                }
            }
            return Some(None);
        }
        let mut needs = |key: &'static str, value: Field<Secret>| {
            if matches!(value, Field::Absent) {
                self.missing(fields, key);
            }
            value.set()
        };
        let server_public = needs("server_public_key", server_public);
        let client_public = needs("client_public_key", client_public);
        let client_secret = needs("client_secret_key", client_secret);
        let text = |key: Secret| key.reveal().to_owned();
        Some(Some(Curve {
            server_public_key: text(server_public?),
            server_secret_key: server_secret.or_default(),
            client_public_key: text(client_public?),
            client_secret_key: client_secret?,
        }))
    }

    fn z85(&mut self, item: Item) -> Option<Secret> {
        let text = self.text(item)?;
        let is_z85 = |c: char| c.is_ascii_alphanumeric() || ".-:+=^!/*?&<>()[]{}@%$#".contains(c);
        if text.len() == Z85_KEY && text.chars().all(is_z85) {
            return Some(Secret::new(text));
        }
        let message = format_args!("this is not a CURVE key");
        if let Some(d) = self.error("bad-key", item.span, message) {
            d.help("a key is 40 characters of Z85, in quotes; `lictor keys curve` makes a pair");
        }
        None
    }

    fn nats_security(&mut self, item: Item) -> Option<NatsSecurity> {
        let fields = self.fields(item, item.span, &NATS)?;
        let tls = self.nullable(&fields, "tls", |r, item| r.tls(item)).or_default();
        let nkey_seed = self.nullable(&fields, "nkey_seed", |r, item| r.nkey_seed(item)).set();
        let creds = self.nullable(&fields, "creds", |r, item| r.path(item)).set();
        self.conflict(&fields, "nkey_seed", "creds");
        Some(NatsSecurity { tls, nkey_seed, creds })
    }

    fn tls(&mut self, item: Item) -> Option<Option<Tls>> {
        let fields = self.fields(item, item.span, &TLS)?;
        let mut path = |key| self.nullable(&fields, key, |r, item| r.path(item));
        let (cert, key, ca) = (path("cert"), path("key"), path("ca"));
        for (one, other) in [("cert", "key"), ("key", "cert")] {
            if let Some(entry) = fields.get(one)
                && fields.get(other).is_none()
            {
                let message = format_args!("`{one}` without `{other}`");
                if let Some(d) = self.error("bad-combination", entry.key_span, message) {
                    d.help("a client shows a certificate with its key, or none");
                }
            }
        }
        let tls = Tls { cert: cert.set(), key: key.set(), ca: ca.set() };
        let given = tls != Tls::default();
        let enabled = self.field(&fields, "enabled", |r, item| r.bool(item)).or(given);
        Some(enabled.then_some(tls))
    }

    fn nkey_seed(&mut self, item: Item) -> Option<Secret> {
        let text = self.text(item)?;
        let is_base32 = |c: char| c.is_ascii_uppercase() || ('2'..='7').contains(&c);
        if text.len() == 58 && text.starts_with("SU") && text.chars().all(is_base32) {
            return Some(Secret::new(text));
        }
        let message = format_args!("this is not the seed of a user's NKey");
        if let Some(d) = self.error("bad-key", item.span, message) {
            d.help("a seed has 58 characters and begins with `SU`");
        }
        None
    }

    fn path(&mut self, item: Item) -> Option<String> {
        let text = self.text(item)?;
        if text.is_empty() || text.contains('\0') {
            self.error("bad-path", item.span, format_args!("this is not a path"));
            return None;
        }
        Some(text.to_owned())
    }
}
