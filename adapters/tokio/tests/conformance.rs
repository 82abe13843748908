//! The executor suite on each kind of tokio runtime.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use lictor_kernel::Instant;
use lictor_runtime::conformance;
use lictor_runtime::executor::Executor;
use lictor_runtime::timers::Timers;
use lictor_tokio::{NoRuntime, TokioExecutor};
use tokio::runtime::{Builder, Runtime};

fn run_suite(make: impl Fn() -> Runtime) {
    conformance::executor(|name, case| {
        // Shown by the harness when the case fails.
        eprintln!("case: {name}");
        let tokio = make();
        let host = Arc::new(TokioExecutor::on(tokio.handle().clone()));
        tokio.block_on(case(host));
    });
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn conforms_on_a_current_thread_runtime() {
    run_suite(current_thread);
}

#[test]
fn conforms_on_a_multi_thread_runtime() {
    run_suite(multi_thread);
}

#[test]
fn conforms_on_a_paused_clock() {
    run_suite(paused);
}

#[test]
fn outside_of_a_runtime_is_a_typed_error() {
    assert_eq!(TokioExecutor::current().map(|_| ()), Err(NoRuntime));
    let inside = current_thread().block_on(async { TokioExecutor::current().map(|_| ()) });
    assert_eq!(inside, Ok(()));
}

#[test]
fn sleeps_and_tasks_may_come_from_a_foreign_thread() {
    let tokio = multi_thread();
    let host = TokioExecutor::on(tokio.handle().clone());
    let (done, reply) = lictor_runtime::reply::reply_slot();
    let sleep = host.sleep_until(Instant::from_millis(1));
    host.spawn(Box::pin(async move {
        sleep.await;
        assert!(done.send(()).is_ok());
    }));
    assert_eq!(tokio.block_on(reply), Ok(()));
}

#[test]
fn a_paused_clock_jumps_and_idle_timers_do_not_hold_it() {
    let tokio = paused();
    let host = Arc::new(TokioExecutor::on(tokio.handle().clone()));
    let timers = Timers::new(Arc::<TokioExecutor>::clone(&host));
    tokio.block_on(async {
        let hour = Duration::from_secs(3600);
        let deadline = host.now().saturating_add(hour);
        timers.wait_until(deadline).await;
        assert_eq!(host.now(), deadline);
        // A call that is answered: its deadline is dropped long before it comes.
        let answered = timers.timeout(deadline.saturating_add(hour), tokio::task::yield_now());
        assert_eq!(answered.await, Ok(()));
        assert_eq!(host.now(), deadline);
        host.sleep_until(deadline.saturating_add(hour * 24)).await;
        assert_eq!(host.now(), deadline.saturating_add(hour * 24));
        assert_eq!(tokio.metrics().num_alive_tasks(), 1, "the timers' own task");
        drop(timers);
        tokio::task::yield_now().await;
        assert_eq!(tokio.metrics().num_alive_tasks(), 0, "it ends with the timers");
    });
}
