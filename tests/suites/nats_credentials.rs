//! An operator of NATS with one account and one user, and the files that follow from it.

use serde_json::{Value, json};

/// Who signs whom.
pub(crate) struct Operator {
    operator: nkeys::KeyPair,
    account: nkeys::KeyPair,
    user: nkeys::KeyPair,
}

impl Operator {
    pub(crate) fn new() -> Self {
        let (operator, account) = (nkeys::KeyPair::new_operator(), nkeys::KeyPair::new_account());
        Self { operator, account, user: nkeys::KeyPair::new_user() }
    }

    /// What a server is told that knows this operator and its account.
    pub(crate) fn configuration(&self) -> String {
        let no_limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        });
        let claims = json!({ "type": "operator", "version": 2 });
        let operator = jwt(&self.operator, &self.operator.public_key(), &claims);
        let claims = json!({ "limits": no_limits, "type": "account", "version": 2 });
        let public = self.account.public_key();
        let account = jwt(&self.operator, &public, &claims);
        format!(
            "operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {public}: {account} }}\n"
        )
    }

    /// The file of credentials of its user.
    pub(crate) fn credentials(&self) -> String {
        let claims = json!({
            "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
        });
        let jwt = jwt(&self.account, &self.user.public_key(), &claims);
        let seed = self.user.seed().unwrap();
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// Base64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let whole = chunk.iter().fold(0_u32, |whole, byte| whole << 8 | u32::from(*byte));
        let whole = whole << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let at = usize::try_from(whole >> (18 - 6 * digit) & 63).unwrap();
            text.push(char::from(DIGITS[at]));
        }
    }
    text
}

/// What `signer` says of `subject`, as NATS reads it.
fn jwt(signer: &nkeys::KeyPair, subject: &str, nats: &Value) -> String {
    let claims = json!({
        "jti": "test", "iat": 1, "iss": signer.public_key(), "name": "test", "sub": subject, "nats": nats,
    });
    let head = base64(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let body = format!("{head}.{}", base64(claims.to_string().as_bytes()));
    let signature = signer.sign(body.as_bytes()).unwrap();
    format!("{body}.{}", base64(&signature))
}
