//! Who connects to whom, and when again.

use std::future::pending;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::{NodeId, Prng};
use lictor_runtime::transport::Inbox;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

use crate::Config;
use crate::link::{greet, serve};
use crate::links::Links;

/// Listens and dials until it is dropped.
pub(crate) async fn run(config: Arc<Config>, links: Arc<Links>, inbox: Inbox) {
    let _running = links.begin();
    // Ends with this future, and all links with it.
    let mut tasks = JoinSet::new();
    // The lower one of a pair dials, the other listens: so there is one connection.
    for (peer, host) in config.peers.iter().filter(|(peer, _)| config.node < *peer) {
        let (config, links, inbox) = (Arc::clone(&config), Arc::clone(&links), inbox.clone());
        let (peer, host) = (*peer, host.clone());
        tasks.spawn(async move { dial(&config, &links, peer, &host, &inbox).await });
    }
    let Ok(listener) = TcpListener::bind(("0.0.0.0", config.port)).await else { return };
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = reap(&mut tasks) => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        // Both count: those that have greeted are links, the others are only tasks.
        if tasks.len().max(links.count_links()) >= config.links + config.peers.len() {
            links.count(|counters| &mut counters.too_many);
            continue;
        }
        let (config, links, inbox) = (Arc::clone(&config), Arc::clone(&links), inbox.clone());
        tasks.spawn(async move { accept(&config, &links, stream, &inbox).await });
    }
}

/// Waits for the end of a task.
async fn reap(tasks: &mut JoinSet<()>) {
    match tasks.join_next().await {
        Some(ended) => assert!(ended.is_ok(), "a task of the transport has failed"),
        None => pending().await,
    }
}

async fn accept(config: &Config, links: &Arc<Links>, mut stream: TcpStream, inbox: &Inbox) {
    let Some((peer, epoch)) = greet(config, &mut stream, links).await else { return };
    // A lower one dials us; a higher one, or we ourselves, must not.
    let held = if peer < config.node { links.hold(peer, epoch) } else { None };
    match held {
        Some(held) => serve(config, links, held, stream, inbox).await,
        None => links.count(|counters| &mut counters.bad_greeting),
    }
}

async fn dial(config: &Config, links: &Arc<Links>, peer: NodeId, host: &str, inbox: &Inbox) {
    let mut prng = Prng::new(config.seed ^ config.node.0.rotate_left(32) ^ peer.0);
    let mut attempts = 0_u32;
    loop {
        let connected = async {
            if links.faults.is_refused(config.node, peer) {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            TcpStream::connect((host, config.port)).await
        };
        match timeout(config.connect_timeout, connected).await {
            Ok(Ok(mut stream)) => match greet(config, &mut stream, links).await {
                Some((found, epoch)) if found == peer => {
                    if let Some(held) = links.hold(peer, epoch) {
                        attempts = 0;
                        serve(config, links, held, stream, inbox).await;
                    }
                }
                Some(_) => links.count(|counters| &mut counters.bad_greeting),
                None => {}
            },
            Ok(Err(_)) => links.count(|counters| &mut counters.refused),
            Err(_) => links.count(|counters| &mut counters.slow),
        }
        debug_assert!(!links.has(peer), "nobody else dials this peer");
        sleep(wait(config, attempts, &mut prng)).await;
        attempts = attempts.saturating_add(1);
    }
}

/// Before the next attempt: half fixed, half jitter, so that peers do not come in step.
fn wait(config: &Config, attempts: u32, prng: &mut Prng) -> Duration {
    let doubled = 2_u32.saturating_pow(attempts.min(30));
    let most = config.retry_base.saturating_mul(doubled).min(config.retry_max);
    let half = most / 2;
    let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
    half + Duration::from_nanos(prng.below(nanos.saturating_add(1)))
}
