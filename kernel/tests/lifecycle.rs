//! The lifecycle: all sequences to depth 6 against a table.

use lictor_kernel::LifecycleState::{Crashed, Initializing, Running, Stopped, Stopping, Suspended};
use lictor_kernel::{
    ErrorAction, ErrorDecision, Lifecycle, LifecycleState, RestartError, ResumeError,
};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Op {
    Started,
    Suspend,
    ResumeUnapproved,
    Resume,
    Stop,
    Finished,
    Crashed,
    RestartNewer,
    RestartSame,
    Handled,
    Received(u32),
    OnError(ErrorAction),
}

const OPS: [Op; 15] = [
    Op::Started,
    Op::Suspend,
    Op::ResumeUnapproved,
    Op::Resume,
    Op::Stop,
    Op::Finished,
    Op::Crashed,
    Op::RestartNewer,
    Op::RestartSame,
    Op::Handled,
    Op::Received(2),
    Op::OnError(ErrorAction::Retry),
    Op::OnError(ErrorAction::Skip),
    Op::OnError(ErrorAction::Escalate),
    Op::OnError(ErrorAction::Stop),
];

/// The whole machine as a table: which state an operation leads to from which.
const TABLE: [(Op, &[LifecycleState], LifecycleState); 8] = [
    (Op::Started, &[Initializing], Running),
    (Op::Suspend, &[Running], Suspended),
    (Op::ResumeUnapproved, &[], Running),
    (Op::Resume, &[Suspended], Running),
    (Op::Stop, &[Initializing, Running, Suspended], Stopping),
    (Op::Finished, &[Running, Stopping], Stopped),
    (Op::Crashed, &[Initializing, Running, Suspended, Stopping], Crashed),
    (Op::RestartNewer, &[Stopped, Crashed], Initializing),
];

const MAX_RETRIES: u32 = 2;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Model {
    state: LifecycleState,
    incarnation: u64,
    attempt: u32,
}

/// What an operation answers: nothing, a decision, or a refusal.
type Answer = Result<Option<ErrorDecision>, ()>;

fn expect(model: &mut Model, op: Op) -> Answer {
    if let Some((_, from, to)) = TABLE.iter().find(|row| row.0 == op) {
        if !from.contains(&model.state) {
            return Err(());
        }
        model.state = *to;
        if op == Op::RestartNewer {
            model.incarnation += 1;
            model.attempt = 0;
        }
        return Ok(None);
    }
    let Op::OnError(action) = op else {
        if op == Op::Handled {
            model.attempt = 0;
            return Ok(None);
        }
        if let Op::Received(attempts) = op {
            model.attempt = attempts;
            return Ok(None);
        }
        return Err(());
    };
    if model.state != Running && model.state != Stopping {
        return Err(());
    }
    let decision = match action {
        ErrorAction::Retry if model.attempt + 1 > MAX_RETRIES => ErrorDecision::Crash,
        ErrorAction::Retry => ErrorDecision::Redeliver { attempt: model.attempt + 1 },
        ErrorAction::Skip => ErrorDecision::Discard,
        ErrorAction::Escalate => ErrorDecision::Crash,
        ErrorAction::Stop => ErrorDecision::Stop,
    };
    match decision {
        ErrorDecision::Redeliver { attempt } => model.attempt = attempt,
        ErrorDecision::Discard => model.attempt = 0,
        ErrorDecision::Crash => model.state = Crashed,
        ErrorDecision::Stop => model.state = Stopping,
    }
    Ok(Some(decision))
}

fn apply(life: &mut Lifecycle, op: Op) -> Answer {
    let incarnation = life.incarnation();
    match op {
        Op::Started => life.started().map(|()| None).map_err(drop),
        Op::Suspend => life.suspend().map(|()| None).map_err(drop),
        Op::ResumeUnapproved => life.resume("").map(|()| None).map_err(drop),
        Op::Resume => life.resume("me").map(|()| None).map_err(drop),
        Op::Stop => life.stop().map(|()| None).map_err(drop),
        Op::Finished => life.finished().map(|()| None).map_err(drop),
        Op::Crashed => life.crashed().map(|()| None).map_err(drop),
        Op::RestartNewer => life.restart(incarnation + 1).map(|()| None).map_err(drop),
        Op::RestartSame => life.restart(incarnation).map(|()| None).map_err(drop),
        Op::Handled => {
            life.handled();
            Ok(None)
        }
        Op::Received(attempts) => {
            life.received(attempts);
            Ok(None)
        }
        Op::OnError(action) => life.on_error(action).map(Some).map_err(drop),
    }
}

fn explore(life: Lifecycle, model: Model, depth: u32) {
    for op in OPS {
        let (mut next, mut expected) = (life, model);
        let answer = apply(&mut next, op);
        assert_eq!(answer, expect(&mut expected, op), "{op:?} on {model:?}");
        if answer.is_err() {
            assert_eq!(next, life, "a refused {op:?} changes nothing");
        }
        let (state, incarnation, attempt) = (next.state(), next.incarnation(), next.attempt());
        assert_eq!(Model { state, incarnation, attempt }, expected, "{op:?} on {model:?}");
        // A refusal changed nothing, so what follows it has been explored without it.
        if depth > 1 && answer.is_ok() {
            explore(next, expected, depth - 1);
        }
    }
}

// Rules: P1, P2, P3, P4, P5, P6, P7, P8
#[test]
fn all_sequences_to_depth_six() {
    let model = Model { state: Initializing, incarnation: 0, attempt: 0 };
    explore(Lifecycle::new(0, MAX_RETRIES), model, 6);
}

// Rule: P3
#[test]
fn a_resume_says_what_is_missing() {
    let mut life = Lifecycle::new(0, 0);
    life.started().unwrap();
    let running = ResumeError::NotSuspended(Running);
    assert_eq!(life.resume(""), Err(running));
    life.suspend().unwrap();
    assert_eq!(life.resume(""), Err(ResumeError::NoApprover));
    assert_eq!(life.resume("me"), Ok(()));
}

// Rule: P6
#[test]
fn only_a_newer_incarnation_follows_an_ended_one() {
    let mut life = Lifecycle::new(7, 0);
    assert_eq!(life.restart(8), Err(RestartError::StillLive(Initializing)));
    life.crashed().unwrap();
    assert_eq!(life.restart(7), Err(RestartError::StaleIncarnation(7)));
    assert_eq!(life.restart(u64::MAX), Ok(()));
    life.crashed().unwrap();
    assert_eq!(life.restart(u64::MAX), Err(RestartError::StaleIncarnation(u64::MAX)));
}

// Rule: P7
#[test]
fn a_message_runs_at_most_max_retries_plus_one_times() {
    for max_retries in [0, 1, 5, 1000] {
        let mut life = Lifecycle::new(0, max_retries);
        life.started().unwrap();
        let mut runs = 1_u32;
        while let ErrorDecision::Redeliver { attempt } = life.on_error(ErrorAction::Retry).unwrap()
        {
            assert_eq!(attempt, runs);
            runs += 1;
        }
        assert_eq!((runs, life.state()), (max_retries + 1, Crashed));
        assert!(!life.may_retry());
        life.restart(1).unwrap();
        assert_eq!((life.attempt(), life.may_retry()), (0, max_retries > 0));
        // The message went on to the next incarnation, and its count with it.
        life.started().unwrap();
        life.received(max_retries);
        assert_eq!(life.on_error(ErrorAction::Retry), Ok(ErrorDecision::Crash));
    }
}
