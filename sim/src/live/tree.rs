//! The tree of a node, of a scenario.

use std::sync::Arc;

use lictor_kernel::NodeId;
use lictor_runtime::{
    AgentSpec, AgentTypes, DynamicSupervisor, InHandPolicy, Overflow, Supervisor, agent,
};
use lictor_topology as topology;

use super::Live;
use super::agent::ModelAgent;
use crate::record::{NodeIx, Who};
use crate::scenario::{Agent, Role};
use crate::stream::Purpose;

/// The type that is spawned.
pub(super) const TYPE: &str = "lictor.model";

/// The tree below a static supervisor, with the seeds of the kernel world.
pub(super) fn tree(live: &Arc<Live>, root: Who, boot: u32) -> Supervisor {
    let scenario = &live.plan.scenario;
    let entity = scenario.entity(root);
    let Role::Supervisor(config, children) = &entity.role else {
        unreachable!("only a static supervisor is a root, or is asked for below one")
    };
    let mut tree = Supervisor::with_strategy(entity.name.clone(), config.strategy)
        .max_restarts(config.intensity.max_restarts, config.intensity.period)
        .backoff(config.backoff)
        .auto_shutdown(config.auto_shutdown)
        .seed(seed(live, root, boot))
        .as_child(entity.spec);
    for child in children {
        let entity = scenario.entity(*child);
        tree = match &entity.role {
            Role::Agent(facts) => {
                let spec = spec(live, *child, facts).as_child(entity.spec);
                tree.agent(match live.plan.host_of(*child) {
                    Some(host) => {
                        spec.placed_on(NodeId(u64::from(host.0)), &format!("n{}", host.0))
                    }
                    None => spec,
                })
            }
            Role::Supervisor(..) => tree.supervisor(self::tree(live, *child, boot)),
            Role::Dynamic(..) => tree.dynamic(dynamic(live, *child, boot)),
        };
    }
    tree
}

fn seed(live: &Live, who: Who, boot: u32) -> u64 {
    live.streams.draw(Purpose::Jitter, u64::from(who.0), u64::from(boot))
}

fn dynamic(live: &Live, who: Who, boot: u32) -> DynamicSupervisor {
    let entity = live.plan.scenario.entity(who);
    let Role::Dynamic(config, pool) = &entity.role else {
        unreachable!("asked for a dynamic supervisor only")
    };
    let restart = pool.first().map(|child| live.plan.scenario.entity(*child).spec.restart);
    let tree = DynamicSupervisor::new(entity.name.clone())
        .max_restarts(config.intensity.max_restarts, config.intensity.period)
        .budget(config.budget)
        .backoff(config.backoff)
        .max_children(config.max_children)
        .max_total_spawns(config.max_total_spawns)
        .max_children_per_spawner(config.max_children_per_spawner)
        .max_total_spawns_per_spawner(config.max_total_spawns_per_spawner)
        .seed(seed(live, who, boot))
        .as_child(entity.spec);
    match restart {
        Some(restart) => tree.children_restart(restart),
        None => tree,
    }
}

fn spec(live: &Arc<Live>, who: Who, facts: &Agent) -> AgentSpec {
    let inside = Arc::clone(live);
    let name = live.plan.scenario.entity(who).name.clone();
    agent(name, move || ModelAgent::new(Arc::clone(&inside), who))
        .mailbox_size(facts.mailbox.size)
        .overflow(match facts.mailbox.overflow {
            topology::Overflow::Wait => Overflow::Wait,
            topology::Overflow::Reject => Overflow::Reject,
            topology::Overflow::DropOldest => Overflow::DropOldest,
        })
        .max_retries(facts.max_retries)
        .in_hand(match facts.in_hand {
            topology::InHand::Drop => InHandPolicy::Drop,
            topology::InHand::Redeliver => InHandPolicy::Redeliver,
            topology::InHand::DeadLetter => InHandPolicy::DeadLetter,
        })
        .capabilities(facts.capabilities.clone())
}

/// What a node runs for others, if they want it.
pub(super) fn offers(live: &Arc<Live>, node: NodeIx) -> Vec<AgentSpec> {
    let scenario = &live.plan.scenario;
    let here = scenario.all().filter(|(who, _)| live.plan.host_of(*who) == Some(node));
    here.filter_map(|(who, _)| Some(spec(live, who, scenario.agent(who)?))).collect()
}

/// What can be spawned by name.
pub(super) fn types(live: &Arc<Live>) -> AgentTypes {
    let live = Arc::clone(live);
    AgentTypes::new().with_spec(TYPE, move |setup| {
        let scenario = &live.plan.scenario;
        let who = scenario.named(&setup.name);
        let known = who.and_then(|who| Some((who, scenario.agent(who)?)));
        match known {
            Some((who, facts)) => Ok(spec(&live, who, facts)),
            None => Err(lictor_runtime::AgentError::new("no such agent in the scenario")),
        }
    })
}
