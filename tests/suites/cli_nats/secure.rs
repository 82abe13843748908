//! TLS, keys and credentials of NATS as a topology file has them: who has the right ones runs, and who
//! has others is told what is wrong, while the others go on.

use std::path::{Path, PathBuf};

use crate::credentials::Operator;
use crate::run::{end, is_of_use};
use crate::server::Server;
use crate::support::{File, Logged, Running, lictor, of, output, repository};

/// The three processes of `examples/cluster.yaml` over these servers, with this security.
fn topology(servers: &[String], security: &str) -> File {
    spread(servers, "", security)
}

/// The same, with more of NATS.
fn spread(servers: &[String], more: &str, security: &str) -> File {
    let text = std::fs::read_to_string(repository().join("examples/cluster.yaml")).unwrap();
    let (before, rest) = text.split_once("  type: zmq\n").unwrap();
    let (_, rest) = rest.split_once("  membership:\n").unwrap();
    let transport =
        format!("  type: nats\n  nats: {{ servers: {servers:?}{more} }}\n  membership:\n");
    let security = format!("security: {{ transport: {{ nats: {{ {security} }} }} }}\n");
    File::new(&format!("{before}{transport}{rest}{security}"))
}

fn on(server: &Server, security: &str) -> File {
    topology(&[server.url()], security)
}

/// Runs it until every agent is of use.
fn begun(file: &File) -> Running {
    let mut run = Running::new(&["run", file.path(), "--json"]);
    run.wait_for(of("started", "price"));
    is_of_use(&mut run);
    run
}

/// What a worker with this file says of its connection, which it does not get.
fn told(file: &File) -> String {
    let args = ["worker", file.path(), "--process", "vault", "--json", "--for", "50s"];
    let mut worker = Logged::of(lictor(&args));
    let line = worker.line("no connection to the NATS server");
    assert!(line.contains("; trying on"), "{line}");
    assert_eq!(worker.end(), Some(0), "that is no reason to give up");
    line
}

/// What either command says of a file with a fault, and that nothing was begun.
fn refused(file: &File) -> String {
    let worker = output(&["worker", file.path(), "--process", "vault", "--json"]);
    let run = output(&["run", file.path(), "--json"]);
    for ended in [&worker, &run] {
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(worker.stderr, run.stderr);
    worker.stderr
}

fn certificate(file: &str) -> PathBuf {
    repository().join("tests/peers/tls").join(file).canonicalize().unwrap()
}

/// A server that shows a certificate, and may want to see one.
fn encrypted(wants_one: bool) -> Server {
    let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(certificate);
    Server::configured(|_| {
        format!(
            "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: {wants_one} }}\n"
        )
    })
}

#[test]
fn tls_lets_in_who_trusts_the_server_and_tells_the_others() {
    let server = encrypted(false);
    let ca = certificate("ca.pem");
    let mut run = begun(&on(&server, &format!("tls: {{ ca: {ca:?} }}")));
    for security in [
        // Another authority, and only those of the system.
        format!("tls: {{ ca: {:?} }}", certificate("client.pem")),
        "tls: { enabled: true }".to_owned(),
        String::new(),
    ] {
        let line = told(&on(&server, &security));
        assert!(line.contains("security.transport.nats.tls.ca"), "{security}: {line}");
    }
    is_of_use(&mut run);
    end(run);
}

#[test]
fn a_server_that_wants_certificates_lets_in_who_shows_one() {
    let server = encrypted(true);
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(certificate);
    let all = format!("tls: {{ ca: {ca:?}, cert: {cert:?}, key: {key:?} }}");
    let run = begun(&on(&server, &all));
    let line = told(&on(&server, &format!("tls: {{ ca: {ca:?} }}")));
    assert!(line.contains("give security.transport.nats.tls.cert and key"), "{line}");
    end(run);
}

#[test]
fn files_that_are_missing_or_no_certificates_are_faults_of_the_file() {
    let server = Server::configured(|_| String::new());
    let spoilt = server.folder.join("spoilt.pem");
    std::fs::write(&spoilt, "-----BEGIN CERTIFICATE-----\nno\n").unwrap();
    let [ca, cert, key] = ["ca.pem", "client.pem", "server.key"].map(certificate);
    let other = certificate("server.key");
    let rows: [(String, &Path); 6] = [
        ("tls: { ca: /no/such/ca.pem }".to_owned(), Path::new("/no/such/ca.pem")),
        (format!("tls: {{ ca: {spoilt:?} }}"), &spoilt),
        (format!("tls: {{ ca: {ca:?}, cert: {spoilt:?}, key: {key:?} }}"), &spoilt),
        (format!("tls: {{ ca: {ca:?}, cert: {cert:?}, key: {ca:?} }}"), &ca),
        (format!("tls: {{ ca: {ca:?}, cert: {cert:?}, key: {other:?} }}"), &other),
        ("creds: /no/such/me.creds".to_owned(), Path::new("/no/such/me.creds")),
    ];
    for (security, file) in rows {
        let said = refused(&on(&server, &security));
        assert!(said.starts_with("error: security.transport.nats"), "{security}: {said}");
        assert!(said.contains(file.to_str().unwrap()), "{security}: {said}");
    }
}

#[test]
fn a_key_lets_in_who_has_its_seed() {
    let pairs = [nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user()];
    let server = Server::configured(|folder| {
        let users = format!("users: [ {{ nkey: {} }} ]", pairs[0].public_key());
        format!(
            "jetstream {{ store_dir: {:?} }}\nauthorization {{ {users} }}\n",
            folder.join("store")
        )
    });
    let [right, other] = pairs.map(|pair| pair.seed().unwrap());
    // The stream has a connection of its own, which shows the same key.
    let kept = spread(&[server.url()], ", jetstream: true", &format!("nkey_seed: {right}"));
    let mut run = begun(&kept);
    for security in [format!("nkey_seed: {other}"), String::new()] {
        let line = told(&on(&server, &security));
        assert!(line.contains("authorization violation"), "{line}");
        assert!(line.contains("security.transport.nats.nkey_seed"), "{line}");
        assert!(!line.contains(&other), "a secret is not shown: {line}");
    }
    // One with a slip of the pen would never be let in.
    let at = if &right[20..21] == "A" { "B" } else { "A" };
    let slipped = format!("{}{at}{}", &right[..20], &right[21..]);
    let said = refused(&on(&server, &format!("nkey_seed: {slipped}")));
    assert!(said.contains("security.transport.nats.nkey_seed"), "{said}");
    assert!(!said.contains(&slipped), "{said}");
    is_of_use(&mut run);
    end(run);
}

#[test]
fn credentials_let_in_who_is_in_them() {
    let operator = Operator::new();
    let server = Server::configured(|_| operator.configuration());
    let written = |text: &str, file: &str| {
        let path = server.folder.join(file);
        std::fs::write(&path, text).unwrap();
        format!("creds: {path:?}")
    };
    let mut run = begun(&on(&server, &written(&operator.credentials(), "good.creds")));
    let other = written(&Operator::new().credentials(), "other.creds");
    let line = told(&on(&server, &other));
    assert!(line.contains("authorization violation"), "{line}");
    assert!(line.contains("security.transport.nats.creds"), "{line}");
    let said = refused(&on(&server, &written("no credentials", "spoilt.creds")));
    assert!(said.contains("spoilt.creds: not a file of credentials"), "{said}");
    is_of_use(&mut run);
    end(run);
}

#[test]
fn one_server_of_several_is_enough() {
    let server = Server::configured(|_| String::new());
    // Nobody listens at the first.
    let servers = ["nats://127.0.0.1:1".to_owned(), server.url()];
    end(begun(&topology(&servers, "")));
    // And of none that is there all are named.
    let line = told(&topology(&["nats://127.0.0.1:1".to_owned()], ""));
    assert!(line.contains("refused"), "{line}");
}
