// S6 did not hold under the plan that seed 9 makes, shrunk.

#[test]
fn s6_seed_9() {
    let reading = lictor_sim::plan::Reading::default();
    let plan = lictor_sim::plan::Plan::read("plan.min.yaml", PLAN.as_bytes(), &reading)
        .unwrap_or_else(|faults| panic!("{faults}"));
    let engine = lictor_sim::engine::Engine::Kernel;
    let run = |queue| {
        let options = lictor_sim::outcome::Options { queue, model: false, ..Default::default() };
        engine.run(&plan, options).expect("the engine is built in")
    };
    if let Some(violation) = run(lictor_sim::outcome::Queue::Heap).violation {
        panic!("{}", lictor_sim::trace::names(&plan.scenario, &violation.to_string()));
    }
}

const PLAN: &str = r#"topology:
  supervision:
    name: shop
    strategy: ONE_FOR_ONE
    max_restarts: 3
    restart_window: 30
    backoff: CONSTANT
    backoff_base: 1
    backoff_max: 60
    jitter: none
    auto_shutdown: never
    children:
    - supervisor:
        name: stages
        strategy: ONE_FOR_ONE
        max_restarts: 30
        restart_window: 10
        backoff: CONSTANT
        backoff_base: 150ms
        backoff_max: 60
        jitter: none
        auto_shutdown: never
        restart: transient
        shutdown: infinity
        significant: false
        children:
        - agent:
            name: parse
            type: lictor.echo
            restart: transient
            shutdown: 5
            significant: false
            mailbox_size: 500
            overflow: wait
            max_retries: 3
            in_hand: drop
  transport:
    type: in_process
nodes: 1
seed: 9
horizon: 530ms
calm: 27s
knobs:
  start: [100us, 5ms]
  stop: [100us, 5ms]
  handle: [10us, 500us]
  latency: [200us, 2ms]
  send_timeout: 5s
  heartbeat: 500ms
  heartbeat_timeout: 250ms
  lease: 5s
  heartbeat_threshold: 3
  link_capacity: 10000
  medium: direct
  buggify: false
operations:
  - { at: 530ms, terminate: stages }
faults:
  - { at: 500ms, crash_all: shop }
"#;
