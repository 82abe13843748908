use lictor_kernel::membership::TagSet;
use lictor_kernel::{ChildKind, Instant, Status};

use super::*;
use crate::outcome::Options;
use crate::plan::{Plan, Reading};
use crate::queue::HeapQueue;

/// Node 1 says in its first boot that it has a name of node 0, and what it says to node 2 is under
/// way for three seconds. Meanwhile it boots again, and node 2 hears of that.
fn plan() -> Plan {
    let text = b"topology: {supervision: {children: [{agent: {name: a, type: t}}]}}\n\
                 nodes: 3\nhorizon: 10s\n\
                 operations: [{at: 1s, claim: a, node: 1}]\n\
                 faults:\n  - {at: 900ms, reorder: [1, 2], amount: 100%, lasts: 200ms}\n  \
                 - {at: 900ms, latency: [1, 2], amount: 3s, lasts: 200ms}\n  \
                 - {at: 1100ms, power_loss: 1, lasts: 300ms}\n";
    Plan::read("plan.yaml", text, &Reading::default()).unwrap_or_else(|faults| panic!("{faults}"))
}

const TWO: NodeIx = NodeIx(2);
const ONE: NodeIx = NodeIx(1);

fn at_node_two<Q: EventQueue<Event>>(world: &mut World<'_, Q>) -> (u64, Option<u64>) {
    let kernel = &world.node(TWO).kernel;
    (kernel.membership().ignored(), kernel.membership().is_up(id(ONE)))
}

#[test]
fn a_claim_of_an_older_boot_can_come_after_the_newer_was_heard() {
    let plan = plan();
    let mut world = World::new(&plan, Options::default(), HeapQueue::default());
    for node in plan.scenario.node_ids() {
        world.boots(node);
    }
    while world.step(Instant::from_millis(3_500)) {}
    let (before, boot) = at_node_two(&mut world);
    assert_eq!(boot, Some(2), "the newer boot is known before the claim comes");
    while world.step(Instant::from_millis(4_500)) {}
    let (after, _) = at_node_two(&mut world);
    assert!(after > before, "the claim has not come");
    assert_eq!(world.recorder.violation, None);
    // The claim that counts would be wrong, had a newer boot been heard.
    let entry = |world: &mut World<'_, HeapQueue<Event>>| {
        let this = world.node(TWO);
        let name = this.kernel.names().lookup("a").unwrap();
        let owner = this.kernel.registry().lookup(name).map(|entry| entry.owner);
        (name, owner)
    };
    let (name, owner) = entry(&mut world);
    let Some(Owner::Remote { node, epoch, .. }) = owner else { panic!("{owner:?}") };
    let (status, kind, capabilities) = (Status::Up, ChildKind::Worker, TagSet::default());
    let claim = Claim { incarnation: 0, revision: 0, status, kind, capabilities };
    let said = Said::Claim { epoch, name, claim };
    world.is_of_newest(TWO, NodeIx::of(node), said);
    assert_eq!(world.recorder.violation, None);
    let place = usize::from(TWO.0) * 3 + usize::from(NodeIx::of(node).0);
    world.heard[place].1 += 1;
    world.is_of_newest(TWO, NodeIx::of(node), said);
    let violation = world.recorder.violation.clone().map(|violation| violation.invariant);
    assert_eq!(violation, Some("S10"));
}
