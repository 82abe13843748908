//! The other built-in agents.

use lictor::{AskError, EventKind, ReplyFailure};
use serde_json::json;

use crate::support::{Built, refusal};

#[tokio::test]
async fn a_counter_counts_and_crashes_on_request() {
    let mut built = Built::start(
        "- agent: { name: c, type: lictor.counter, config: { start: 3 } }\n\
         - agent: { name: d, type: lictor.counter, config: { durable: true } }",
    )
    .await;
    assert_eq!(built.ask("c", "Add", 2).await, 5);
    assert_eq!(built.ask("c", "Add", json!({ "n": -1 })).await, 4);
    built.send("d", "Add", 9).await;
    // A slip of the sender is no crash.
    for (kind, payload) in [("add", json!(1)), ("Add", json!("1")), ("Add", json!({ "m": 1 }))] {
        let refused = built.try_ask("c", kind, payload).await.unwrap_err();
        assert!(matches!(refused, AskError::Failed { failure: ReplyFailure::Skipped, .. }));
    }
    assert_eq!(built.ask("c", "Get", ()).await, 4);
    assert_eq!(built.ask("c", "Add", i64::MAX).await, i64::MAX);
    assert_eq!(built.ask("c", "Reset", ()).await, 3);
    for agent in ["c", "d"] {
        built.send(agent, "Crash", ()).await;
        assert_eq!(built.crash_of(agent).await, "asked to crash");
    }
    assert_eq!(built.ask("c", "Get", ()).await, 3);
    assert_eq!(built.ask("d", "Get", ()).await, 9);
    built.tree.stop().await;
}

#[tokio::test]
async fn an_echo_answers_with_the_payload() {
    let built = Built::start("- agent: { name: e, type: lictor.echo }").await;
    built.send("e", "anything", 1).await;
    assert_eq!(
        built.ask("e", "whatever", json!([1, { "a": null }])).await,
        json!([1, { "a": null }])
    );
    built.tree.stop().await;
}

#[tokio::test]
async fn a_flaky_stage_crashes_at_its_nth_message_and_passes_on_the_others() {
    let built = Built::start(
        "- agent: { name: last, type: lictor.echo }\n\
         - agent: { name: f, type: lictor.flaky, \
             config: { crash_every: 3, forward_to: last, stamp: true } }",
    )
    .await;
    let mut answers = Vec::new();
    for n in 0..9 {
        answers.push(built.try_ask("f", "x", json!({ "n": n })).await.ok());
    }
    let crashed: Vec<bool> = answers.iter().map(Option::is_none).collect();
    assert_eq!(crashed, [false, false, true, false, false, true, false, false, true]);
    assert_eq!(answers[0], Some(json!({ "n": 0, "via": ["f"] })));
    assert_eq!(built.ledger.counts("f").of("forwarded"), 6);
    built.tree.stop().await;
}

#[tokio::test]
async fn a_flaky_stage_is_as_flaky_as_its_rate_and_its_seed_say() {
    let pattern = async |seed: u64| {
        let built = Built::start(&format!(
            "- agent: {{ name: f, type: lictor.flaky, config: {{ crash_rate: 0.3, seed: {seed}, \
             panic: true }} }}"
        ))
        .await;
        let mut crashes = Vec::new();
        for n in 0..60 {
            crashes.push(built.try_ask("f", "x", n).await.is_err());
        }
        built.tree.stop().await;
        crashes
    };
    let first = pattern(1).await;
    let crashes = first.iter().filter(|crashed| **crashed).count();
    assert!((5..40).contains(&crashes), "{crashes}");
    assert_eq!(first, pattern(1).await);
    assert_ne!(first, pattern(2).await);
}

#[tokio::test]
async fn a_start_that_fails_now_and_then_is_tried_again() {
    let mut built = Built::start(
        "- agent: { name: f, type: lictor.flaky, config: { crash_every: 1, fail_start_every: 2 } }",
    )
    .await;
    built.send("f", "x", ()).await;
    built.wait_for(|kind| matches!(kind, EventKind::StartFailed { .. })).await;
    built.wait_for(|kind| matches!(kind, EventKind::Started { incarnation: 3, .. })).await;
    built.tree.stop().await;
}

#[tokio::test]
async fn a_ticker_counts_what_it_asked() {
    let mut built = Built::start(
        "- agent: { name: e, type: lictor.flaky, config: { crash_every: 4 } }\n\
         - agent: { name: t, type: lictor.ticker, \
             config: { to: e, rate: 1000, ask: true, count: 8, payload: '{n}' } }",
    )
    .await;
    built.wait_for(|kind| matches!(kind, EventKind::Stopped { reason: "normal", .. })).await;
    let counts = built.ledger.counts("t");
    assert_eq!((counts.of("sent"), counts.of("answered"), counts.of("failed")), (8, 6, 2));
    built.tree.stop().await;
}

#[tokio::test]
async fn a_ticker_goes_on_after_a_restart_at_the_same_rate() {
    let mut built = Built::start(
        "- agent: { name: n, type: lictor.counter }\n\
         - agent: { name: t, type: lictor.ticker, \
             config: { to: n, kind: Add, payload: 1, every: 5ms } }",
    )
    .await;
    built.counted("t", "sent", 3).await;
    built.tree.runtime().restart_agent("t", "the test").await.unwrap();
    built.wait_for(|kind| matches!(kind, EventKind::Started { incarnation: 2, .. })).await;
    let sent = built.ask("t", "how many?", ()).await["sent"].as_u64().unwrap();
    built.counted("t", "sent", sent + 3).await;
    built.tree.stop().await;
}

#[test]
fn impossible_settings_are_refused_before_anything_starts() {
    for (kind, config, why) in [
        ("lictor.echo", "{ a: 1 }", "unknown field `a`"),
        ("lictor.counter", "{ start: x }", "invalid type"),
        ("lictor.flaky", "{ crash_rate: 1.5 }", "from 0 to 1"),
        ("lictor.flaky", "{ crash_every: 0 }", "at least 1"),
        ("lictor.flaky", "{ forward_to: a }", "the agent itself"),
        ("lictor.flaky", "{ delay: -1 }", "a negative duration"),
        ("lictor.ticker", "{ every: 1s }", "missing field `to`"),
        ("lictor.ticker", "{ to: b }", "one of `every` and `rate`"),
        ("lictor.ticker", "{ to: b, every: 1s, rate: 1 }", "exclude each other"),
        ("lictor.ticker", "{ to: b, rate: 0 }", "above 0"),
        ("lictor.ticker", "{ to: b, every: 0 }", "a million times"),
        ("lictor.ticker", "{ to: a, every: 1s }", "the agent itself"),
        ("lictor.ticker", "{ to: 'no name', every: 1s }", "the name of an agent"),
        ("lictor.ticker", "{ to: b, every: 1s, count: 0 }", "at least 1"),
        ("lictor.flaky", "{ forward_to: '' }", "the name of an agent"),
    ] {
        let detail = refusal(kind, config);
        assert!(detail.contains(why), "{kind} {config}: {detail}");
    }
}
