//! An owner with one placed child, the boots of its host, and everything that may happen to them.
//!
//! The wire keeps each frame that was sent, hands it to whichever boot of its node, now or later, as
//! often as the search likes, or never. Of membership only what it promises is kept: a node sees no
//! boot that is older than one it has seen. A host may be paused: it then runs nothing, and its clock
//! goes on.

use std::time::Duration;

use lictor_kernel::remote::{Config, Decision, Frame, HOSTED, Host, Hosting, Placement, Stage};
use lictor_kernel::supervisor::Event;
use lictor_kernel::{
    ChildId, ExitReason, Instant, NameId, NodeId, Pid, ProcessId, Signal, SupervisorId,
};

pub(crate) const NAME: NameId = NameId(7);
pub(crate) const OWNER: NodeId = NodeId(1);
pub(crate) const HOST: NodeId = NodeId(2);

pub(crate) const TICK: Duration = Duration::from_secs(1);

/// What a search may do, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Budget {
    pub(crate) ticks: u8,
    pub(crate) host_boots: u8,
    /// How often the owner is told that a boot of the host has been reaped.
    pub(crate) reaps: u8,
    pub(crate) owner_boots: u8,
    pub(crate) downs: u8,
    pub(crate) pauses: u8,
    pub(crate) crashes: u8,
    pub(crate) stops: u8,
    pub(crate) restarts: u8,
    /// How often a frame that has arrived stays on the wire.
    pub(crate) repeats: u8,
    /// Frames that the wire keeps; of more the oldest is lost.
    pub(crate) frames: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Move {
    Tick,
    /// The n-th frame arrives: at the owner, or at this boot of the host; it goes, or stays.
    Arrives(usize, usize, bool),
    OwnerSees(usize),
    OwnerLosesHost,
    HostSees(usize),
    HostLosesOwner(usize),
    BootHost,
    KillHost(usize),
    /// The owner is told that the n-th of the boots that were killed is gone.
    OwnerHearsOfEnd(usize),
    Pause(usize),
    Resume(usize),
    BootOwner,
    /// The process of this boot of the host does what it was going to.
    Process(usize, Event),
    Restart,
    Stop(Signal),
    /// The name is down for good.
    Retire,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    up: bool,
    told: Option<Signal>,
    pub(crate) lease: Instant,
}

/// One operating-system process of the host.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Boot {
    pub(crate) epoch: u64,
    pub(crate) host: Host,
    pub(crate) paused: bool,
    pub(crate) process: Option<Process>,
    has_name: bool,
    sees: u64,
}

/// What the supervisor knows of its child.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Known {
    Down,
    Starting(ProcessId),
    Up(ProcessId),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct World {
    pub(crate) now: Instant,
    /// How fast the clocks of hosts go: so many ticks in so many of the owner's.
    pub(crate) rate: (u64, u64),
    config: Config,
    pub(crate) budget: Budget,
    pub(crate) owner: Placement,
    owner_epoch: u64,
    pub(crate) known: Known,
    next: u64,
    retired: bool,
    owner_sees: Option<u64>,
    newest_seen: u64,
    pub(crate) boots: Vec<Boot>,
    next_boot: u64,
    /// Those that were killed, where the owner may be told so.
    reaped: Vec<u64>,
    /// To whom, and what.
    wire: Vec<(NodeId, Frame)>,
}

pub(crate) fn config() -> Config {
    Config {
        lease: 2 * TICK,
        margin: Duration::ZERO,
        renew_every: TICK,
        repeat_every: TICK,
        inherits: false,
        placed: 4,
        offers: 4,
    }
}

impl World {
    pub(crate) fn new(config: Config, budget: Budget) -> Self {
        let mut owner = Placement::new(config, 1);
        assert_eq!(owner.place(NAME, HOST), Ok(()));
        let mut world = Self {
            now: Instant::ZERO,
            rate: (1, 1),
            config,
            budget,
            owner,
            owner_epoch: 1,
            known: Known::Down,
            next: 1,
            retired: false,
            owner_sees: None,
            newest_seen: 0,
            boots: Vec::new(),
            next_boot: 1,
            reaped: Vec::new(),
            wire: Vec::new(),
        };
        world.boot_host();
        world.restart();
        world
    }

    fn boot_host(&mut self) {
        let epoch = self.next_boot;
        self.next_boot += 1;
        let mut host = Host::new(self.config, epoch);
        assert!(host.offer(NAME, Vec::new()));
        let (paused, process, has_name) = (false, None, false);
        self.boots.push(Boot { epoch, host, paused, process, has_name, sees: 0 });
    }

    fn restart(&mut self) {
        assert_eq!(self.known, Known::Down, "one process at a time");
        let pid = Pid { child: ChildId(NAME.0), incarnation: self.next };
        self.next += 1;
        let process = ProcessId { supervisor: SupervisorId(self.owner_epoch), pid };
        self.known = Known::Starting(process);
        self.with_owner(|owner, now, out| owner.start(now, process, out));
    }

    fn send(&mut self, to: NodeId, frame: Frame) {
        if !self.wire.contains(&(to, frame)) {
            self.wire.push((to, frame));
        }
        if self.wire.len() > self.budget.frames {
            self.wire.remove(0);
        }
    }

    fn with_owner(&mut self, act: impl FnOnce(&mut Placement, Instant, &mut Vec<Decision>)) {
        let mut out = Vec::new();
        act(&mut self.owner, self.now, &mut out);
        for decision in out {
            match decision {
                Decision::Send(node, frame) => {
                    assert_eq!(node, HOST);
                    self.send(node, frame);
                }
                Decision::Tell(process, _, stage) => self.told(process, stage),
                Decision::Released(name) => assert_eq!((name, self.retired), (NAME, true)),
            }
        }
    }

    /// Rule H3: in this order, each once.
    fn told(&mut self, process: ProcessId, stage: Stage) {
        self.known = match (self.known, stage) {
            (known @ Known::Starting(at), Stage::Waiting | Stage::Ordered(_)) if at == process => {
                known
            }
            (Known::Starting(at), Stage::Started) if at == process => Known::Up(at),
            (Known::Starting(at), Stage::Ignored | Stage::Failed(_) | Stage::Exited(_))
            | (Known::Up(at), Stage::Exited(_))
                if at == process =>
            {
                Known::Down
            }
            (known, stage) => panic!("{process:?} is told {stage:?} while {known:?}"),
        };
    }

    fn with_host(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Host, Instant, bool, &mut Vec<Hosting>),
    ) {
        let mut out = Vec::new();
        let (now, boot) = (self.host_now(), &mut self.boots[at]);
        act(&mut boot.host, now, !boot.has_name, &mut out);
        let mut sent = Vec::new();
        for hosting in out {
            match hosting {
                Hosting::Send(node, frame) => sent.push((node, frame)),
                Hosting::Take(_) => assert!(!std::mem::replace(&mut boot.has_name, true)),
                Hosting::GiveBack(_) => {
                    assert!(std::mem::replace(&mut boot.has_name, false));
                    assert_eq!(boot.process, None, "no process is left of a name given back");
                }
                Hosting::Start(ProcessId { supervisor, pid }) => {
                    assert_eq!((supervisor, &boot.process), (HOSTED, &None), "one at a time");
                    assert!(boot.has_name && !boot.paused);
                    let lease = Instant::ZERO;
                    boot.process = Some(Process { pid, up: false, told: None, lease });
                }
                Hosting::Signal(ProcessId { pid, .. }, signal) => {
                    if let Some(process) = boot.process.as_mut().filter(|it| it.pid == pid) {
                        process.told = Some(signal);
                    }
                }
                Hosting::Status(..) => assert!(boot.has_name),
                Hosting::Leased(ProcessId { pid, .. }, until) => {
                    let process = boot.process.as_mut().filter(|it| it.pid == pid);
                    let process = process.expect("what is leased is there");
                    assert!(until > now && until > process.lease, "leases grow");
                    process.lease = until;
                }
            }
        }
        for (node, frame) in sent {
            assert_eq!(node, OWNER);
            self.send(node, frame);
        }
    }

    fn host_now(&self) -> Instant {
        Instant::from_nanos(self.now.as_nanos() / self.rate.1 * self.rate.0)
    }

    /// Who may handle a message now: rule H16.
    pub(crate) fn alive(&self) -> usize {
        let now = self.host_now();
        let lives = |boot: &&Boot| {
            !boot.paused && boot.process.as_ref().is_some_and(|process| process.lease > now)
        };
        self.boots.iter().filter(lives).count()
    }

    pub(crate) fn moves(&self) -> Vec<Move> {
        let budget = &self.budget;
        let mut moves = Vec::new();
        for (at, (to, frame)) in self.wire.iter().enumerate() {
            if *to == OWNER {
                moves.push(Move::Arrives(at, 0, false));
                if budget.repeats > 0 {
                    moves.push(Move::Arrives(at, 0, true));
                }
                continue;
            }
            for (boot, it) in self.boots.iter().enumerate().filter(|(_, it)| !it.paused) {
                // What names another boot is ignored; one such is enough.
                if frame.stamp().to == it.epoch {
                    moves.push(Move::Arrives(at, boot, false));
                    if budget.repeats > 0 {
                        moves.push(Move::Arrives(at, boot, true));
                    }
                }
            }
        }
        self.moves_of_boots(&mut moves);
        if budget.ticks > 0 {
            moves.push(Move::Tick);
        }
        if budget.host_boots > 0 {
            moves.push(Move::BootHost);
        }
        if budget.reaps > 0 {
            moves.extend((0..self.reaped.len()).map(Move::OwnerHearsOfEnd));
        }
        if budget.downs > 0 && self.owner_sees.is_some() {
            moves.push(Move::OwnerLosesHost);
        }
        if budget.owner_boots > 0 {
            moves.push(Move::BootOwner);
        }
        match self.known {
            Known::Down if budget.restarts > 0 && !self.retired => moves.push(Move::Restart),
            Known::Down if budget.stops > 0 && !self.retired => moves.push(Move::Retire),
            Known::Starting(_) | Known::Up(_) if budget.stops > 0 => {
                moves.extend([Move::Stop(Signal::Shutdown), Move::Stop(Signal::Kill)]);
            }
            Known::Down | Known::Starting(_) | Known::Up(_) => {}
        }
        moves
    }

    fn moves_of_boots(&self, moves: &mut Vec<Move>) {
        let budget = &self.budget;
        for (at, boot) in self.boots.iter().enumerate() {
            if boot.epoch >= self.newest_seen && self.owner_sees != Some(boot.epoch) && !boot.paused
            {
                moves.push(Move::OwnerSees(at));
            }
            if !boot.paused && boot.sees < self.owner_epoch {
                moves.push(Move::HostSees(at));
            }
            if !boot.paused && budget.downs > 0 && boot.sees > 0 {
                moves.push(Move::HostLosesOwner(at));
            }
            if budget.pauses > 0 && !boot.paused {
                moves.push(Move::Pause(at));
            }
            if boot.paused {
                moves.push(Move::Resume(at));
            }
            if budget.host_boots > 0 {
                moves.push(Move::KillHost(at));
            }
            if let Some(Process { pid, up, told, lease }) = &boot.process
                && !boot.paused
            {
                let ends = |reason| Move::Process(at, Event::Exited { pid: *pid, reason });
                if !up && *lease > self.host_now() {
                    moves.push(Move::Process(at, Event::Started { pid: *pid }));
                }
                match told {
                    Some(Signal::Shutdown) => moves.push(ends(ExitReason::Shutdown)),
                    Some(Signal::Kill) => moves.push(ends(ExitReason::Killed)),
                    None if budget.crashes > 0 && *up => moves.push(ends(ExitReason::Crashed)),
                    None if budget.crashes > 0 => {
                        moves.push(Move::Process(at, Event::StartFailed { pid: *pid }));
                    }
                    None => {}
                }
            }
        }
    }

    #[allow(clippy::too_many_lines, reason = "an arm for each move")]
    pub(crate) fn make(&mut self, what: Move) {
        match what {
            Move::Tick => {
                self.budget.ticks -= 1;
                self.tick();
            }
            Move::Arrives(at, boot, stays) => {
                let (to, frame) = self.wire[at];
                if stays {
                    self.budget.repeats -= 1;
                } else {
                    self.wire.remove(at);
                }
                if to == OWNER {
                    self.with_owner(|owner, now, out| owner.hear(now, HOST, frame, out));
                } else {
                    self.with_host(boot, |host, now, is_free, out| {
                        host.hear(now, OWNER, frame, is_free, out);
                    });
                }
            }
            Move::OwnerSees(at) => self.owner_sees(self.boots[at].epoch),
            Move::OwnerLosesHost => {
                self.budget.downs -= 1;
                self.owner_sees = None;
                self.with_owner(|owner, now, out| owner.peer_down(now, HOST, out));
            }
            Move::HostSees(at) => self.host_sees(at),
            Move::HostLosesOwner(at) => {
                self.budget.downs -= 1;
                self.boots[at].sees = 0;
                self.with_host(at, |host, now, _, out| host.peer_down(now, OWNER, out));
            }
            Move::BootHost => {
                self.budget.host_boots -= 1;
                self.boot_host();
            }
            Move::KillHost(at) => self.kill_host(at),
            Move::OwnerHearsOfEnd(at) => self.owner_hears_of_end(at),
            Move::Pause(at) => {
                self.budget.pauses -= 1;
                self.boots[at].paused = true;
            }
            Move::Resume(at) => self.resume(at),
            Move::BootOwner => self.boot_owner(),
            Move::Process(at, fact) => self.process(at, fact),
            Move::Restart => {
                self.budget.restarts -= 1;
                self.restart();
            }
            Move::Stop(signal) => {
                self.budget.stops -= 1;
                let (Known::Starting(process) | Known::Up(process)) = self.known else { return };
                self.with_owner(|owner, now, out| owner.signal(now, process, signal, out));
            }
            Move::Retire => {
                self.budget.stops -= 1;
                self.retired = true;
                self.owner.retire(NAME);
                self.with_owner(|owner, now, out| owner.handle_timeout(now, out));
            }
        }
    }

    fn boot_owner(&mut self) {
        self.budget.owner_boots -= 1;
        self.owner_epoch += 1;
        let config = Config { inherits: true, ..self.config };
        self.owner = Placement::new(config, self.owner_epoch);
        assert_eq!(self.owner.place(NAME, HOST), Ok(()));
        (self.owner_sees, self.newest_seen, self.retired) = (None, 0, false);
        (self.known, self.next) = (Known::Down, 1);
        self.restart();
    }

    fn process(&mut self, at: usize, fact: Event) {
        let process = &mut self.boots[at].process;
        match fact {
            Event::Started { .. } => process.iter_mut().for_each(|it| it.up = true),
            Event::Exited { reason: ExitReason::Crashed, .. } | Event::StartFailed { .. } => {
                self.budget.crashes -= 1;
                *process = None;
            }
            Event::Exited { .. } | Event::StartIgnored { .. } => *process = None,
        }
        self.with_host(at, |host, now, _, out| host.fact(now, fact, out));
    }

    fn owner_sees(&mut self, boot: u64) {
        (self.owner_sees, self.newest_seen) = (Some(boot), boot);
        self.with_owner(|owner, now, out| owner.peer_up(now, HOST, boot, out));
    }

    fn kill_host(&mut self, at: usize) {
        self.budget.host_boots -= 1;
        let boot = self.boots.remove(at);
        if self.budget.reaps > 0 {
            self.reaped.push(boot.epoch);
        }
        self.boot_host();
    }

    /// As a goodbye of that boot.
    fn owner_hears_of_end(&mut self, at: usize) {
        self.budget.reaps -= 1;
        let boot = self.reaped.remove(at);
        self.newest_seen = self.newest_seen.max(boot);
        if self.owner_sees == Some(boot) {
            self.owner_sees = None;
            self.with_owner(|owner, now, out| owner.peer_down(now, HOST, out));
        }
        self.with_owner(|owner, now, out| owner.left(now, HOST, boot, out));
    }

    fn host_sees(&mut self, at: usize) {
        let epoch = self.owner_epoch;
        self.boots[at].sees = epoch;
        self.with_host(at, |host, now, _, out| host.peer_up(now, OWNER, epoch, out));
    }

    fn resume(&mut self, at: usize) {
        self.boots[at].paused = false;
        self.with_host(at, |host, now, _, out| host.handle_timeout(now, out));
    }

    pub(crate) fn tick(&mut self) {
        self.now = self.now.saturating_add(TICK);
        self.with_owner(|owner, now, out| owner.handle_timeout(now, out));
        for at in 0..self.boots.len() {
            if !self.boots[at].paused {
                self.with_host(at, |host, now, _, out| host.handle_timeout(now, out));
            }
        }
    }

    /// Rule H17: from now on all goes well, and only the newest boot is left.
    pub(crate) fn heal(&mut self) {
        let newest = self.boots.pop().expect("one boot at least");
        self.boots = vec![newest];
        if self.boots[0].paused {
            self.resume(0);
        }
        self.budget.frames = 64;
        if self.owner_sees != Some(self.boots[0].epoch) {
            self.owner_sees(self.boots[0].epoch);
        }
        if self.boots[0].sees != self.owner_epoch {
            self.host_sees(0);
        }
        for _ in 0..12 {
            self.deliver_all();
            if self.known == Known::Down && !self.retired {
                self.restart();
            }
            self.tick();
        }
        self.deliver_all();
    }

    fn deliver_all(&mut self) {
        for steps in 0.. {
            assert!(steps < 200, "they talk without end: {:?}", self.wire);
            let process = self.boots[0].process.clone();
            match process {
                Some(Process { pid, up: false, told: None, .. }) => {
                    self.make(Move::Process(0, Event::Started { pid }));
                }
                Some(Process { pid, told: Some(_), .. }) => {
                    let reason = ExitReason::Killed;
                    self.make(Move::Process(0, Event::Exited { pid, reason }));
                }
                Some(_) | None if self.wire.is_empty() => return,
                Some(_) | None => self.make(Move::Arrives(0, 0, false)),
            }
            assert!(self.alive() <= 1);
        }
    }

    /// How many processes the supervisor has started.
    pub(crate) const fn ran(&self) -> u64 {
        self.next - 1
    }

    /// What is there agrees with what the supervisor knows.
    pub(crate) fn is_well(&self) -> bool {
        let boot = &self.boots[0];
        match self.known {
            Known::Up(_) => boot.process.as_ref().is_some_and(|it| it.up && it.told.is_none()),
            Known::Starting(_) => false,
            Known::Down => self.retired && boot.process.is_none() && !boot.has_name,
        }
    }
}
