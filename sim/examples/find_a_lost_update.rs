//! An account that says "done" before it is: the simulation finds the seed at which a crash comes
//! between the two, and the fewest deposits that show it. The account that writes first passes.
//!
//! `cargo run -p lictor-sim --example find_a_lost_update`
#![allow(clippy::print_stdout, reason = "it is an example")]

use lictor::prelude::*;
use lictor_sim::stream::{Purpose, Streams};
use lictor_sim::{Failure, Sim, explore};

struct Account {
    writes_first: bool,
    total: u64,
}

messages! { enum AccountMessage { Deposit(u64) -> u64, Total -> u64 } }

impl Account {
    async fn write(&self, cx: &Context<Self>) -> Handled {
        cx.sleep(ms(1)).await; // a slow disk
        cx.checkpoint(&self.total).await
    }
}

impl Agent for Account {
    type Message = AccountMessage;

    async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
        self.total = cx.restore().await?.unwrap_or(0);
        Ok(())
    }

    async fn handle(&mut self, message: AccountMessage, cx: &mut Context<Self>) -> Handled {
        match message {
            AccountMessage::Deposit(Deposit(sum), reply) if self.writes_first => {
                self.total += sum;
                self.write(cx).await?;
                reply.send(self.total);
            }
            AccountMessage::Deposit(Deposit(sum), reply) => {
                self.total += sum;
                reply.send(self.total);
                self.write(cx).await?; // too late: somebody has been told already
            }
            AccountMessage::Total(Total, reply) => drop(reply.send(self.total)),
        }
        Ok(())
    }
}

fn scenario(seed: u64, deposits: u64, writes_first: bool) -> Result<(), Failure> {
    let mut sim = Sim::new(seed);
    let account = move || Account { writes_first, total: 0 };
    let tree = Supervisor::one_for_one("root").backoff(Backoff::constant(ms(5)));
    sim.start(tree.child("account", account))?;
    // The same whatever the number of deposits is: the draw is keyed by what it is for.
    let poll = 1 + Streams::new(seed).below(Purpose::Cancel, 0, 0, 40);
    sim.cancel_at("account", poll);
    let mut told = 0;
    for _ in 0..deposits {
        if sim.ask::<Account, _>("account", Deposit(10), ms(100))?.is_ok() {
            told += 10;
        }
    }
    sim.advance(ms(50))?;
    let total = sim.ask::<Account, _>("account", Total, secs(1))?.unwrap_or(0);
    let lost = format!("{told} were confirmed, {total} are there");
    sim.check("no confirmed deposit is lost", if total < told { Err(lost) } else { Ok(()) })?;
    sim.finish()
}

fn main() -> Result<(), Failure> {
    let Err(found) = explore(0..1_000, |seed| scenario(seed, 10, false)) else {
        println!("not found");
        return Ok(());
    };
    println!("found with seed {}: {}", found.seed(), found.invariant());
    let fewest = (1..=10).find_map(|deposits| {
        let failure = explore(0..1_000, |seed| scenario(seed, deposits, false)).err()?;
        Some((deposits, failure))
    });
    if let Some((deposits, failure)) = fewest {
        println!("deposits that it takes: {deposits}\n\n{failure}\n");
    }
    let count = explore(0..1_000, |seed| scenario(seed, 10, true))?;
    println!("the account that writes first passes {count} runs");
    Ok(())
}
