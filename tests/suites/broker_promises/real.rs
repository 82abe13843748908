//! Real brokers and real clients on the stage: nats-server below `lictor-nats`, our forwarder and
//! libzmq's below `lictor-zmq`, and libzmq's clients at both.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::{Future, poll_fn};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use lictor_nats::{Nats, NatsConfig};
use lictor_runtime::broker::{AddressError, Broker, BrokerEvent, BrokerInbox, Subscription};
use lictor_runtime::executor::Task;
use lictor_runtime::transport::{FRAME_BYTES_MAX, Frame, SendError};
use lictor_sim::broker::Medium;
use lictor_zmq::{Endpoint, TokioNetwork, ZmqBroker, ZmqConfig, ZmqProxy};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::clients::World;
use crate::ports::free_port;
use crate::server::Server;
use crate::suite::{Going, Who};

/// What is between the clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broking {
    /// nats-server.
    Nats,
    /// Our forwarder.
    Ours,
    /// libzmq's `zmq_proxy`.
    Libzmq,
}

/// Whose clients they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaking {
    /// `lictor-nats` or `lictor-zmq`.
    Ours,
    /// pyzmq.
    Libzmq,
}

/// Polls no more while it is closed.
#[derive(Default)]
struct Gate {
    is_closed: AtomicBool,
    changed: Notify,
}

enum Runs {
    Task(JoinHandle<()>, Arc<Gate>),
    Process(Arc<Foreign>),
}

enum Between {
    Nats(Server),
    Ours(ZmqConfig, Option<JoinHandle<()>>),
    Libzmq(ZmqConfig, Child),
}

/// A broker, and who is connected to it.
pub(crate) struct Real {
    tokio: Runtime,
    between: Between,
    speaking: Speaking,
    runs: BTreeMap<Who, Runs>,
}

impl Real {
    pub(crate) fn new(broking: Broking, speaking: Speaking) -> Self {
        let tokio =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let tokio = tokio.unwrap();
        let between = match broking {
            Broking::Nats => Between::Nats(Server::new()),
            Broking::Ours => {
                let config = config();
                let forwards = forwards(&tokio, &config);
                Between::Ours(config, Some(forwards))
            }
            Broking::Libzmq => {
                let config = config();
                let proxy = proxy(&config);
                Between::Libzmq(config, proxy)
            }
        };
        Self { tokio, between, speaking, runs: BTreeMap::new() }
    }

    fn config(&self) -> &ZmqConfig {
        match &self.between {
            Between::Ours(config, _) | Between::Libzmq(config, _) => config,
            Between::Nats(_) => panic!("not ZeroMQ"),
        }
    }
}

/// Ports that are free, and nobody who is silent for a while is taken for gone.
fn config() -> ZmqConfig {
    let [pub_addr, sub_addr] =
        [(); 2].map(|()| Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: free_port() });
    let mut config = ZmqConfig { pub_addr, sub_addr, ..ZmqConfig::new() };
    config.proxy.queue_bytes = 3 << 20;
    let long = Duration::from_secs(300);
    (config.heartbeat.every, config.heartbeat.timeout, config.heartbeat.ttl) = (long, long, long);
    config.retry.base = Duration::from_millis(10);
    config.retry.max = Duration::from_millis(50);
    config
}

fn forwards(tokio: &Runtime, config: &ZmqConfig) -> JoinHandle<()> {
    let config = config.proxy_config().unwrap();
    let proxy = tokio.block_on(ZmqProxy::bind(TokioNetwork, &config)).unwrap();
    tokio.spawn(async move { proxy.run().await })
}

fn python(arguments: &[&str]) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let python = std::env::var("LICTOR_PYTHON").expect("run tests/run");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/zmq_peer.py");
    let mut command = Command::new(python);
    command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, input, BufReader::new(output))
}

fn proxy(config: &ZmqConfig) -> Child {
    let (pub_addr, sub_addr) = (config.pub_addr.to_string(), config.sub_addr.to_string());
    let (child, input, mut output) = python(&["proxy", &pub_addr, &sub_addr]);
    // It ends by a signal, not with its input.
    std::mem::forget(input);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// A client of libzmq in a process of its own.
struct Foreign {
    child: Mutex<Child>,
    input: Mutex<ChildStdin>,
}

impl Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Foreign")
    }
}

impl Foreign {
    fn start(config: &ZmqConfig, inbox: BrokerInbox) -> Arc<Self> {
        let (pub_addr, sub_addr) = (config.pub_addr.to_string(), config.sub_addr.to_string());
        let (child, input, output) = python(&["client", &pub_addr, &sub_addr]);
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                let words: Vec<&str> = line.split_whitespace().collect();
                inbox.say(match words[..] {
                    ["ready"] => BrokerEvent::Ready,
                    ["lost"] => BrokerEvent::Lost("it says so".into()),
                    ["message", number, from] => {
                        let number: u32 = number.parse().unwrap();
                        let mut bytes = number.to_be_bytes().to_vec();
                        bytes.push(from.parse().unwrap());
                        BrokerEvent::Message { address: "".into(), frame: Frame::new(bytes) }
                    }
                    _ => panic!("not a word: {line}"),
                });
            }
        });
        Arc::new(Self { child: Mutex::new(child), input: Mutex::new(input) })
    }

    fn say(&self, line: &str) {
        // Whether it still runs is seen elsewhere.
        let _ = self.input.lock().unwrap().write_all(format!("{line}\n").as_bytes());
    }

    fn ends(&self, how: Going) {
        let mut child = self.child.lock().unwrap();
        match how {
            Going::Leaves => self.say("leave"),
            Going::Crashes => child.kill().unwrap(),
        }
        child.wait().unwrap();
    }
}

impl Broker for Foreign {
    fn publish(&self, address: &str, frame: Frame) -> Result<(), SendError> {
        let (number, rest) = frame.as_bytes().split_first_chunk().unwrap();
        let number = u32::from_be_bytes(*number);
        self.say(&format!("publish {address} {number} {} {}", rest[0], frame.as_bytes().len()));
        Ok(())
    }

    fn subscribe(&self, to: Subscription) -> Result<(), AddressError> {
        let Subscription::Address(address) = to else { panic!("only addresses") };
        self.say(&format!("subscribe {address}"));
        Ok(())
    }

    fn unsubscribe(&self, _: &Subscription) {}

    fn run(self: Arc<Self>, _: BrokerInbox) -> Task {
        Box::pin(std::future::ready(()))
    }

    fn flush(self: Arc<Self>) -> Task {
        Box::pin(std::future::ready(()))
    }
}

impl World for Real {
    fn medium(&self) -> Medium {
        match self.between {
            Between::Nats(_) => Medium::NatsCore,
            Between::Ours(..) | Between::Libzmq(..) => Medium::ZeroMq,
        }
    }

    /// async-nats reads in a task of its own, whatever its user does.
    fn can_stall(&self) -> bool {
        self.medium() == Medium::ZeroMq
    }

    fn starts(&mut self, who: Who, inbox: BrokerInbox) -> Arc<dyn Broker> {
        if self.speaking == Speaking::Libzmq {
            let foreign = Foreign::start(self.config(), inbox);
            self.runs.insert(who, Runs::Process(Arc::clone(&foreign)));
            return foreign;
        }
        let broker: Arc<dyn Broker> = match &self.between {
            Between::Nats(server) => Nats::new(NatsConfig::of([server.url()])).unwrap(),
            Between::Ours(config, _) | Between::Libzmq(config, _) => {
                ZmqBroker::new(config.clone()).unwrap()
            }
        };
        let gate = Arc::new(Gate::default());
        let (closed, running) = (Arc::clone(&gate), Arc::clone(&broker));
        let task = self.tokio.spawn(async move {
            let mut run = running.run(inbox);
            loop {
                // Polled anew whenever the gate has changed.
                let mut changed = Box::pin(closed.changed.notified());
                let over = poll_fn(|cx| {
                    if changed.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(false);
                    }
                    if closed.is_closed.load(Ordering::Relaxed) {
                        return Poll::Pending;
                    }
                    run.as_mut().poll(cx).map(|()| true)
                });
                if over.await {
                    return;
                }
            }
        });
        self.runs.insert(who, Runs::Task(task, gate));
        broker
    }

    fn stops(&mut self, who: Who, how: Going) {
        match self.runs.remove(&who).expect("it runs") {
            Runs::Task(task, _) => {
                task.abort();
                let _ = self.tokio.block_on(task);
            }
            Runs::Process(foreign) => foreign.ends(how),
        }
    }

    fn stalls(&mut self, who: Who, does: bool) {
        match &self.runs[&who] {
            Runs::Task(_, gate) => {
                gate.is_closed.store(does, Ordering::Relaxed);
                gate.changed.notify_one();
            }
            Runs::Process(foreign) => foreign.say(if does { "stall" } else { "read" }),
        }
    }

    fn passes(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn restarts(&mut self) {
        match &mut self.between {
            Between::Nats(server) => {
                server.kill();
                server.start();
            }
            Between::Ours(config, running) => {
                let task = running.take().unwrap();
                task.abort();
                let _ = self.tokio.block_on(task);
                *running = Some(forwards(&self.tokio, config));
            }
            Between::Libzmq(config, child) => {
                child.kill().unwrap();
                child.wait().unwrap();
                *child = proxy(config);
            }
        }
    }

    fn largest(&self) -> usize {
        FRAME_BYTES_MAX
    }

    /// 32 MiB: more than a forwarder holds back, and more than operating systems take for who is
    /// silent.
    fn flood(&self) -> (u32, usize) {
        (256, 128 << 10)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        for runs in std::mem::take(&mut self.runs).into_values() {
            match runs {
                Runs::Task(task, _) => task.abort(),
                Runs::Process(foreign) => foreign.ends(Going::Crashes),
            }
        }
        if let Between::Libzmq(_, child) = &mut self.between {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
