//! A service of one's own under crashes: a shop takes orders, and a stock that crashes must never
//! sell what it does not have.
//!
//! `cargo run -p lictor-sim --example simulate_your_own_service`
#![allow(clippy::print_stdout, reason = "it is an example")]

use lictor::prelude::*;
use lictor_sim::stream::{Purpose, Streams};
use lictor_sim::{Failure, Sim, explore};

struct Stock {
    left: u64,
}

messages! { enum StockMessage { Take(u64) -> bool, Left -> u64 } }

impl Agent for Stock {
    type Message = StockMessage;

    async fn start(&mut self, cx: &mut Context<Self>) -> Handled {
        self.left = cx.restore().await?.unwrap_or(self.left);
        Ok(())
    }

    async fn handle(&mut self, message: StockMessage, cx: &mut Context<Self>) -> Handled {
        match message {
            StockMessage::Take(Take(count), reply) => {
                let enough = count <= self.left;
                if enough {
                    self.left -= count;
                    cx.sleep(ms(2)).await; // a slow disk
                    cx.checkpoint(&self.left).await?;
                }
                reply.send(enough);
            }
            StockMessage::Left(Left, reply) => drop(reply.send(self.left)),
        }
        Ok(())
    }
}

struct Shop;

messages! { enum ShopMessage { Order(u64) -> bool } }

impl Agent for Shop {
    type Message = ShopMessage;

    async fn handle(&mut self, message: ShopMessage, cx: &mut Context<Self>) -> Handled {
        let ShopMessage::Order(Order(count), reply) = message;
        // A stock that crashes is no reason for the shop to crash.
        let sold = cx.agent::<Stock>("stock")?.ask(Take(count), ms(50)).await;
        reply.send(sold.unwrap_or(false));
        Ok(())
    }
}

fn scenario(seed: u64) -> Result<(), Failure> {
    let mut sim = Sim::new(seed);
    let dice = Streams::new(seed);
    let tree = Supervisor::rest_for_one("root").max_restarts(100, secs(1));
    let tree = tree.backoff(Backoff::constant(ms(5)));
    sim.start(tree.child("stock", || Stock { left: 10 }).child("shop", || Shop))?;
    sim.always("the shop is not flooded", |view| {
        view.agent("shop").is_none_or(|shop| shop.queued <= 4)
    });
    let mut sold = 0;
    for order in 0..8 {
        let victim = if order % 2 == 0 { "stock" } else { "shop" };
        // Somewhere between now and in ten polls, wherever it is then.
        sim.cancel_at(victim, 1 + dice.below(Purpose::User, 0, order, 10));
        if let Ok(true) = sim.ask::<Shop, _>("shop", Order(2), ms(100))? {
            sold += 2;
        }
        sim.advance(ms(20))?;
    }
    let left = sim.ask::<Stock, _>("stock", Left, secs(1))?.unwrap_or(0);
    sim.check("nothing is sold twice", sold + left <= 10)?;
    sim.finish()
}

fn main() -> Result<(), Failure> {
    let count = explore(0..500, scenario)?;
    println!("{count} runs, in each of which every agent was killed, and nothing was sold twice");
    Ok(())
}
