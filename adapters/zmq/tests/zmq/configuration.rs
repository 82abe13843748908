//! Configurations that make sense, and those that do not.

use lictor_zmq::{CurveConfig, KeyError, TokioNetwork, ZmqBroker, ZmqConfig, ZmqError, ZmqProxy};

use crate::support::{config, curve, secret};

const KEY: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";

#[test]
fn the_endpoints_of_civitas_are_the_default() {
    let config = ZmqConfig::new();
    assert_eq!(config.pub_addr.to_string(), "tcp://127.0.0.1:5559");
    assert_eq!(config.sub_addr.to_string(), "tcp://127.0.0.1:5560");
    assert!(ZmqBroker::new(config).is_ok());
}

#[test]
fn keys_are_read_and_faults_say_where() {
    let key = |public: &str, secret: Option<&str>, mine: &str, my_secret: &str| {
        CurveConfig::from_z85(public, secret, mine, my_secret).unwrap_err()
    };
    let (short, bad) = (&KEY[1..], KEY.replace('S', "~"));
    let error = KeyError::Length { length: 39 };
    assert_eq!(key(short, None, KEY, KEY), ZmqError::Key { name: "server_public_key", error });
    let error = KeyError::Character { at: 4 };
    assert_eq!(key(KEY, Some(&bad), KEY, KEY), ZmqError::Key { name: "server_secret_key", error });
    assert_eq!(key(KEY, None, &bad, KEY), ZmqError::Key { name: "client_public_key", error });
    assert_eq!(key(KEY, None, KEY, &bad), ZmqError::Key { name: "client_secret_key", error });
    let shown = format!("{:?} {}", curve(), key(KEY, None, KEY, &bad));
    assert!(
        !shown.contains(secret(1).to_z85().as_str()) && !shown.contains(&bad),
        "secrets: {shown}"
    );
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_opened() {
    let refused = |config: ZmqConfig| ZmqBroker::new(config).unwrap_err();
    let mut keyless = curve();
    keyless.server_secret_key = None;
    let with = |curve| ZmqConfig { curve: Some(curve), start_proxy: true, ..config() };
    assert_eq!(refused(with(keyless.clone())), ZmqError::NoServerKey);
    assert!(ZmqBroker::new(ZmqConfig { start_proxy: false, ..with(keyless) }).is_ok());
    let mut other = curve();
    other.server_secret_key = Some(secret(5));
    assert_eq!(refused(with(other)), ZmqError::ServerKeysDiffer);
    let short = ZmqConfig { queue_bytes: 1000, ..config() };
    assert!(matches!(refused(short), ZmqError::ShortQueue { needed } if needed > 2 << 20));
    let mut short = ZmqConfig { start_proxy: true, ..config() };
    short.proxy.queue_bytes = 1000;
    assert!(matches!(refused(short.clone()), ZmqError::ShortQueue { .. }));
    let mut none = config();
    none.limits.frame = 0;
    assert!(matches!(refused(none), ZmqError::Config(_)));
}

#[tokio::test]
async fn a_forwarder_that_cannot_listen_says_so() {
    let mut config = config();
    let first = ZmqProxy::bind(TokioNetwork, &config.proxy_config().unwrap()).await.unwrap();
    (config.pub_addr, config.sub_addr) = first.endpoints().unwrap();
    let second = ZmqProxy::bind(TokioNetwork, &config.proxy_config().unwrap()).await;
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}
