//! Calls: each ends exactly once, against a plain list of all calls ever begun.

use lictor_kernel::{
    BeginError, CallId, CallOutcome, Calls, Ended, ExitReason, Instant, ReplyOutcome,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Begin { callee: u8, after: i64 },
    Reply { call: u64 },
    Cancel { call: u64 },
    CalleeDown { callee: u8 },
    Advance { by: u64 },
    Timeout,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..3_u8, -2..6_i64).prop_map(|(callee, after)| Op::Begin { callee, after }),
        4 => (0..40_u64).prop_map(|call| Op::Reply { call }),
        1 => (0..40_u64).prop_map(|call| Op::Cancel { call }),
        1 => (0..3_u8).prop_map(|callee| Op::CalleeDown { callee }),
        2 => (0..4_u64).prop_map(|by| Op::Advance { by }),
        2 => Just(Op::Timeout),
    ]
}

const FIRST: u64 = 10;
const LIMIT: usize = 6;

/// One call ever begun: callee, deadline in nanoseconds, and whether it is in flight.
type Row = (u8, u64, bool);

fn at(now: u64, after: i64) -> u64 {
    now.saturating_add_signed(after)
}

proptest! {
    // Rules: C1, C2, C3, C4, C5
    #[test]
    fn each_call_ends_exactly_once(
        ops in prop::collection::vec(op(), 0..80),
        start in prop_oneof![Just(5_u64), Just(u64::MAX - 12)],
    ) {
        let mut now = start;
        let mut calls = Calls::<u8>::new(CallId(FIRST), LIMIT);
        let mut rows: Vec<Row> = Vec::new();
        let (mut late, mut unknown) = (0, 0);
        let row = |call: u64| call.checked_sub(FIRST).and_then(|at| usize::try_from(at).ok());
        for op in ops {
            let mut ended = Vec::new();
            let mut expected = Vec::new();
            let in_flight = rows.iter().filter(|row| row.2).count();
            match op {
                Op::Begin { callee, after } => {
                    let deadline = at(now, after);
                    let result = calls.begin(callee, Instant::from_nanos(deadline));
                    if in_flight == LIMIT {
                        prop_assert_eq!(result, Err(BeginError::TooManyCalls));
                    } else {
                        prop_assert_eq!(result, Ok(CallId(FIRST + rows.len() as u64)));
                        rows.push((callee, deadline, true));
                    }
                }
                Op::Reply { call } => {
                    let outcome = calls.reply(Instant::from_nanos(now), CallId(call));
                    match row(call).and_then(|at| rows.get_mut(at)) {
                        None => {
                            unknown += 1;
                            prop_assert_eq!(outcome, ReplyOutcome::Unknown);
                        }
                        Some((_, deadline, open)) if *open && now <= *deadline => {
                            *open = false;
                            prop_assert_eq!(outcome, ReplyOutcome::Delivered);
                        }
                        Some(_) => {
                            late += 1;
                            prop_assert_eq!(outcome, ReplyOutcome::Late);
                        }
                    }
                }
                Op::Cancel { call } => {
                    let open = row(call).and_then(|at| rows.get_mut(at)).map(|row| &mut row.2);
                    let was = open.map(std::mem::take);
                    prop_assert_eq!(calls.cancel(CallId(call)), was == Some(true));
                }
                Op::CalleeDown { callee } => {
                    calls.callee_down(callee, ExitReason::Crashed, &mut ended);
                    let open = |row: &Row| row.0 == callee && row.2;
                    for (n, row) in rows.iter_mut().enumerate().filter(|(_, row)| open(row)) {
                        row.2 = false;
                        let call = CallId(FIRST + n as u64);
                        let outcome = CallOutcome::CalleeDown(ExitReason::Crashed);
                        expected.push(Ended { call, outcome });
                    }
                }
                Op::Advance { by } => now = now.saturating_add(by),
                Op::Timeout => {
                    calls.handle_timeout(Instant::from_nanos(now), &mut ended);
                    let mut due: Vec<_> = rows.iter_mut().enumerate().collect();
                    due.retain(|(_, row)| row.2 && row.1 <= now && row.1 < u64::MAX);
                    due.sort_by_key(|(n, row)| (row.1, *n));
                    for (n, row) in due {
                        row.2 = false;
                        let call = CallId(FIRST + n as u64);
                        expected.push(Ended { call, outcome: CallOutcome::TimedOut });
                    }
                }
            }
            prop_assert_eq!(ended, expected);
            prop_assert_eq!(calls.len(), rows.iter().filter(|row| row.2).count());
            prop_assert_eq!(calls.is_empty(), rows.iter().all(|row| !row.2));
            prop_assert_eq!((calls.late(), calls.unknown()), (late, unknown));
            let next = rows.iter().filter(|row| row.2 && row.1 < u64::MAX).map(|row| row.1).min();
            prop_assert_eq!(calls.poll_timeout(), next.map(Instant::from_nanos));
            for (n, row) in rows.iter().enumerate() {
                prop_assert_eq!(calls.callee(CallId(FIRST + n as u64)), row.2.then_some(row.0));
            }
        }
    }
}

// Rule: C3
#[test]
fn a_reply_at_exactly_the_deadline_is_delivered_and_one_after_it_is_late() {
    let deadline = Instant::from_secs(1);
    let just_after = Instant::from_nanos(1_000_000_001);
    let mut calls = Calls::new(CallId(0), 10);
    let a = calls.begin('a', deadline).unwrap();
    let b = calls.begin('a', deadline).unwrap();
    assert_eq!(calls.reply(deadline, a), ReplyOutcome::Delivered);
    assert_eq!(calls.reply(just_after, b), ReplyOutcome::Late);
    let mut ended = Vec::new();
    calls.handle_timeout(just_after, &mut ended);
    assert_eq!(ended, [Ended { call: b, outcome: CallOutcome::TimedOut }]);
    assert_eq!(calls.reply(just_after, b), ReplyOutcome::Late);
    assert_eq!(calls.late(), 2);
}

// Rules: C1, C6
#[test]
fn ids_and_deadlines_at_the_edge() {
    let mut calls = Calls::new(CallId(u64::MAX), 10);
    let last = calls.begin(0_u8, Instant::MAX).unwrap();
    assert_eq!(calls.begin(0, Instant::MAX), Err(BeginError::IdsExhausted));
    let mut ended = Vec::new();
    calls.handle_timeout(Instant::MAX, &mut ended);
    assert_eq!((calls.poll_timeout(), ended.len()), (None, 0));
    assert_eq!(calls.reply(Instant::MAX, last), ReplyOutcome::Delivered);
    assert_eq!(calls.reply(Instant::MAX, last), ReplyOutcome::Late);
    assert_eq!(calls.reply(Instant::MAX, CallId(0)), ReplyOutcome::Unknown);
}

// Rule: C5
#[test]
fn a_hundred_thousand_calls_of_one_callee() {
    let mut calls = Calls::new(CallId(0), 200_000);
    for n in 0..100_000_u64 {
        calls.begin(0_u8, Instant::from_nanos(n)).unwrap();
        calls.begin(1_u8, Instant::from_nanos(n)).unwrap();
    }
    let mut ended = Vec::new();
    calls.callee_down(0, ExitReason::Killed, &mut ended);
    assert_eq!(ended.len(), 100_000);
    calls.handle_timeout(Instant::from_nanos(99_999), &mut ended);
    assert!(calls.is_empty() && calls.poll_timeout().is_none());
    assert_eq!(ended.len(), 200_000);
}
