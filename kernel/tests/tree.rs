//! What a tree does that a script cannot say: children that are supervisors and come at run time.

use std::sync::Arc;

use lictor_kernel::supervisor::{Config, Event};
use lictor_kernel::tree::{Action, Body, Plan, PlannedChild, Stage, Tree};
use lictor_kernel::{ChildId, ChildSpec, ExitReason, Instant, ProcessId, SupervisorId};

const NOW: Instant = Instant::ZERO;
const ROOT: SupervisorId = SupervisorId(0);
const LATE: ChildId = ChildId(1);

fn plan(children: Vec<PlannedChild>) -> Arc<Plan> {
    Arc::new(Plan::Static { config: Config::default(), children })
}

fn child(id: ChildId, body: Body) -> PlannedChild {
    PlannedChild { id, spec: ChildSpec::worker(), body }
}

/// Adds a child to the root; answers with what is then to be started.
fn add(tree: &mut Tree, body: Body) -> Vec<ProcessId> {
    let mut actions = Vec::new();
    tree.start_child(NOW, ROOT, child(LATE, body), &mut actions).expect("the id is free");
    let starts = actions.iter().filter_map(|action| match action {
        Action::Start { process } => Some(*process),
        Action::Supervisor { .. }
        | Action::Signal { .. }
        | Action::Report { .. }
        | Action::Removed { .. } => None,
    });
    starts.collect()
}

// Rules: E1, E3, V22
#[test]
fn a_subtree_comes_at_run_time_and_leaves_nothing_behind() {
    let (mut tree, mut actions) = (Tree::default(), Vec::new());
    tree.start(NOW, &plan(vec![]), &mut actions).expect("a good plan");
    let leaf = child(ChildId(2), Body::Worker);
    let starts = add(&mut tree, Body::Supervisor(plan(vec![leaf])));
    let inner = tree.running_as(ROOT, LATE).expect("the child is a supervisor");
    let [leaf] = starts[..] else { panic!("one worker: {starts:?}") };
    assert_eq!(leaf.supervisor, inner);
    tree.handle(NOW, inner, Event::Started { pid: leaf.pid }, &mut actions);

    actions.clear();
    tree.terminate_child(NOW, ROOT, LATE, None, &mut actions).expect("it runs");
    let exited = Event::Exited { pid: leaf.pid, reason: ExitReason::Shutdown };
    tree.handle(NOW, inner, exited, &mut actions);
    let is_exit = |action: &&Action| {
        matches!(action, Action::Supervisor { supervisor, stage: Stage::Exited(_), .. }
            if *supervisor == inner)
    };
    assert_eq!(actions.iter().filter(is_exit).count(), 1, "{actions:?}");
    assert_eq!(tree.running_as(ROOT, LATE), None);
    assert_eq!(tree.len(), 1);

    // The same id, now a worker: nothing is remembered of the subtree.
    tree.delete_child(NOW, ROOT, LATE, &mut actions).expect("it is down");
    let starts = add(&mut tree, Body::Worker);
    let [worker] = starts[..] else { panic!("the worker itself: {starts:?}") };
    assert_eq!((worker.supervisor, worker.pid.child), (ROOT, LATE));
    assert_eq!(tree.running_as(ROOT, LATE), None);
}
