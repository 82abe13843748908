//! S10: when two nodes say that they have one name, all the others come to see the same owner, by
//! the rule: the greatest (epoch, incarnation, node). When only one is left that says so, all see
//! that one.
//!
//! Source: kernel rules R4 and R7. Judged where the world says what each node sees, which is after
//! the time to heal: until then news are under way. How often a node has booted is known here, but
//! not which incarnation of a claim it is about; so of equal epochs only the agreement is judged.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::plan::{Act, Plan};
use crate::record::{NodeIx, Record, Stage, What, Who};

#[derive(Clone, Debug)]
pub(super) struct Ownership {
    /// By number of the operation: whose name, and whether it is claimed or given up.
    acts: BTreeMap<u32, (Who, bool)>,
    homes: Vec<NodeIx>,
    boots: Vec<u32>,
    /// Who says that it has which name, besides the owners.
    claims: BTreeSet<(Who, NodeIx)>,
    /// Names that ever were claimed.
    contested: BTreeSet<Who>,
    /// What was so before the last operation.
    undo: Option<(Who, NodeIx, bool)>,
    /// What the first of the others sees.
    seen: BTreeMap<Who, (NodeIx, Option<NodeIx>)>,
    /// Of some contested name, several others saw the same owner.
    pub(super) resolved: bool,
}

impl Ownership {
    pub(super) fn new(plan: &Plan) -> Self {
        let acts = (0..).zip(&plan.operations).filter_map(|(number, operation)| {
            Some(match operation.act {
                Act::Claim(who) => (number, (who, true)),
                Act::Unclaim(who) => (number, (who, false)),
                _ => return None,
            })
        });
        Self {
            acts: acts.collect(),
            homes: plan.scenario.all().map(|(_, entity)| entity.node).collect(),
            boots: vec![0; plan.scenario.nodes()],
            claims: BTreeSet::new(),
            contested: BTreeSet::new(),
            undo: None,
            seen: BTreeMap::new(),
            resolved: false,
        }
    }

    /// Whether somebody besides the owner says that it has this name.
    pub(super) fn is_claimed(&self, who: Who) -> bool {
        self.claimants(who).next().is_some()
    }

    fn claimants(&self, who: Who) -> impl Iterator<Item = NodeIx> {
        let all = (who, NodeIx(0))..=(who, NodeIx(u8::MAX));
        self.claims.range(all).map(|(_, node)| *node)
    }

    pub(super) fn see(&mut self, record: &Record) -> Verdict {
        match record.what {
            What::Operation(number) => self.operation(record.node, number),
            What::Refused(_) => match self.undo.take() {
                Some((who, node, true)) => {
                    self.claims.insert((who, node));
                }
                Some((who, node, false)) => {
                    self.claims.remove(&(who, node));
                }
                None => {}
            },
            What::Booted(boot) => self.boots[usize::from(record.node.0)] = boot,
            // A node without a tree has said goodbye, and what it said goes with it.
            What::Supervisor { process: None, stage: Stage::Exited(_), .. } | What::Halted => {
                self.claims.retain(|(_, node)| *node != record.node);
            }
            What::Sees(who, sees) if self.contested.contains(&who) => {
                return self.sees(record.node, who, sees);
            }
            _ => {}
        }
        Ok(())
    }

    fn operation(&mut self, node: NodeIx, number: u32) {
        self.undo = None;
        let Some((who, claims)) = self.acts.get(&number).copied() else { return };
        let before = self.claims.contains(&(who, node));
        self.undo = Some((who, node, before));
        if claims {
            self.contested.insert(who);
            self.claims.insert((who, node));
        } else {
            self.claims.remove(&(who, node));
        }
    }

    fn sees(&mut self, node: NodeIx, who: Who, sees: Option<NodeIx>) -> Verdict {
        if let Some((other, other_sees)) = self.seen.get(&who).copied() {
            if other_sees != sees {
                return Err(format!(
                    "node {} sees {who:?} at {sees:?}, and node {} sees it at {other_sees:?}",
                    node.0, other.0
                ));
            }
            self.resolved = true;
        }
        self.seen.insert(who, (node, sees));
        if !self.is_claimed(who) {
            return Ok(());
        }
        let Some(at) = sees else {
            return Err(format!("node {} does not see {who:?}, which is claimed", node.0));
        };
        let home = self.homes[usize::from(who.0)];
        if at != home && !self.claims.contains(&(who, at)) {
            return Err(format!(
                "node {} sees {who:?} at {at:?}, which neither has nor claims it",
                node.0
            ));
        }
        let boot = |node: NodeIx| self.boots[usize::from(node.0)];
        match self.claimants(who).find(|claimant| boot(*claimant) > boot(at)) {
            Some(greater) => Err(format!(
                "node {} sees {who:?} at {at:?} of boot {}, and {greater:?} claims it in boot {}",
                node.0,
                boot(at),
                boot(greater)
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use lictor_kernel::Instant;

    use super::*;
    use crate::plan::Reading;

    const WHO: Who = Who(1);

    fn ownership() -> Ownership {
        let text = b"topology: {supervision: {children: [{agent: {name: a, type: t}}]}}\n\
                     nodes: 4\nhorizon: 9s\noperations:\n  - {at: 1s, claim: a, node: 1}\n  \
                     - {at: 2s, unclaim: a, node: 1}\n";
        let plan = Plan::read("p", text, &Reading::default()).unwrap();
        assert_eq!(plan.operations[0].act, Act::Claim(WHO));
        Ownership::new(&plan)
    }

    fn all(ownership: &mut Ownership, records: &[(u8, What)]) -> Verdict {
        records.iter().try_for_each(|(node, what)| {
            ownership.see(&Record { at: Instant::ZERO, node: NodeIx(*node), what: *what })
        })
    }

    const fn sees(at: u8) -> What {
        What::Sees(WHO, Some(NodeIx(at)))
    }

    #[test]
    fn the_others_must_agree_on_one_that_claims_it() {
        let claimed = (1, What::Operation(0));
        for (records, holds) in [
            (vec![claimed, (2, sees(0)), (3, sees(0))], true),
            (vec![claimed, (2, sees(1)), (3, sees(1))], true),
            (vec![claimed, (2, sees(0)), (3, sees(1))], false),
            (vec![claimed, (2, sees(2)), (3, sees(2))], false),
            (vec![claimed, (2, What::Sees(WHO, None))], false),
            // The newer boot wins.
            (vec![(1, What::Booted(2)), claimed, (2, sees(1))], true),
            (vec![(1, What::Booted(2)), claimed, (2, sees(0))], false),
            // Nothing comes of what is refused, or was said in an earlier boot.
            (vec![claimed, (1, What::Refused(0)), (2, What::Sees(WHO, None))], true),
            (vec![claimed, (1, What::Halted), (2, What::Sees(WHO, None))], true),
        ] {
            let mut ownership = ownership();
            assert_eq!(all(&mut ownership, &records).is_ok(), holds, "{records:?}");
        }
    }

    #[test]
    fn what_is_given_up_is_not_claimed_any_more() {
        let mut ownership = ownership();
        all(&mut ownership, &[(1, What::Operation(0)), (1, What::Operation(1))]).unwrap();
        assert!(!ownership.is_claimed(WHO));
        all(&mut ownership, &[(1, What::Refused(1))]).unwrap();
        assert!(ownership.is_claimed(WHO), "it was refused, so it is still claimed");
        assert!(!ownership.resolved);
        all(&mut ownership, &[(2, sees(1)), (3, sees(1))]).unwrap();
        assert!(ownership.resolved);
    }
}
