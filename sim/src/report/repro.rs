//! A failure as a test to paste.

use crate::engine::Engine;
use crate::outcome::MODEL;
use crate::plan::Plan;

/// The text of a file with one test, which fails as long as the plan violates an invariant.
pub(super) fn test(plan: &Plan, seed: u64, engine: Engine, invariant: &str) -> String {
    let yaml = plan.to_yaml();
    let fence = fence(&yaml);
    let name = format!("{}_seed_{seed}", invariant.to_lowercase());
    let body = if invariant == "S14" { TWICE } else { ONCE };
    TEMPLATE
        .replace("@invariant", invariant)
        .replace("@seed", &seed.to_string())
        .replace("@name", &name)
        .replace("@body", body)
        .replace("@model", if invariant == MODEL { "true" } else { "false" })
        .replace("@engine", variant(engine))
        .replace("@fence", &fence)
        .replace("@plan", &yaml)
}

const fn variant(engine: Engine) -> &'static str {
    match engine {
        Engine::Kernel => "Kernel",
        Engine::Virtual => "Virtual",
        Engine::Turmoil => "Turmoil",
    }
}

/// So many `#` that nothing in the text ends the literal.
fn fence(text: &str) -> String {
    let mut fence = "#".to_owned();
    while text.contains(&format!("\"{fence}")) {
        fence.push('#');
    }
    fence
}

// The plan is put in last: what stands in it is nobody's business.
const TEMPLATE: &str = "\
// @invariant did not hold under the plan that seed @seed makes, shrunk.

#[test]
fn @name() {
    let reading = lictor_sim::plan::Reading::default();
    let plan = lictor_sim::plan::Plan::read(\"plan.min.yaml\", PLAN.as_bytes(), &reading)
        .unwrap_or_else(|faults| panic!(\"{faults}\"));
    let engine = lictor_sim::engine::Engine::@engine;
    let run = |queue| {
        let options = lictor_sim::outcome::Options { queue, model: @model, ..Default::default() };
        engine.run(&plan, options).expect(\"the engine is built in\")
    };
@body}

const PLAN: &str = r@fence\"@plan\"@fence;
";

const ONCE: &str = "    \
    if let Some(violation) = run(lictor_sim::outcome::Queue::Heap).violation {
        panic!(\"{}\", lictor_sim::trace::names(&plan.scenario, &violation.to_string()));
    }
";

const TWICE: &str = "    \
    let once = run(lictor_sim::outcome::Queue::Heap);
    for queue in [lictor_sim::outcome::Queue::Heap, lictor_sim::outcome::Queue::Calendar] {
        assert_eq!(once.digest, run(queue).digest, \"two runs of one plan differ\");
    }
";
