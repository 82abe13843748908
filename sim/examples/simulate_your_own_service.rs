//! A service of one's own on two nodes, under crashes and partitions: a shop takes orders, and a
//! stock, however often it crashes and is cut off, must never sell what it does not have.
//!
//! `cargo run -p lictor-sim --example simulate_your_own_service`
#![allow(clippy::print_stdout, reason = "it is an example")]

use lictor::prelude::*;
use lictor_sim::executor::{Config, Schedule};
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
        // By its name, with a raw message: the stock lives on another node, where typed references
        // (`cx.agent`) do not reach. One that has crashed, or is cut off, is no reason to crash.
        let sold = cx.ask("stock", Message::new("Take", count), ms(50)).await;
        reply.send(sold == Ok(Value::Bool(true)));
        Ok(())
    }
}

/// How much was sold.
fn scenario(seed: u64) -> Result<u64, Failure> {
    let mut sim = Sim::empty(seed, Config::of(Schedule::of_seed(seed)))
        .with_peer("front", RuntimeConfig::default())
        .with_peer("back", RuntimeConfig::default());
    let root = || {
        let root = Supervisor::one_for_one("root").max_restarts(100, secs(1));
        root.backoff(Backoff::constant(ms(5)))
    };
    sim.start_on("back", root().child("stock", || Stock { left: 10 }))?;
    sim.start_on("front", root().child("shop", || Shop))?;
    sim.always("the shop is not flooded", |view| {
        view.agent("front/shop").is_none_or(|shop| shop.queued <= 4)
    });
    let dice = Streams::new(seed);
    let mut sold = 0;
    for order in 0..12 {
        let draw = |purpose, bound| dice.below(purpose, 0, order, bound);
        // Somewhere between now and in twenty polls, wherever it is then.
        let victim = if order % 2 == 0 { "back/stock" } else { "front/shop" };
        sim.cancel_at(victim, 1 + draw(Purpose::Cancel, 20));
        match draw(Purpose::Loss, 6) {
            0 => sim.partition("front", "back"),
            1 => sim.partition_one_way("back", "front"),
            2 => sim.heal(),
            _ => {}
        }
        if let Ok(true) = sim.ask::<Shop, _>("front/shop", Order(2), ms(100))? {
            sold += 2;
        }
        sim.advance(ms(20))?;
    }
    let left = sim.ask::<Stock, _>("back/stock", Left, secs(1))?.unwrap_or(0);
    sim.check("nothing is sold twice", sold + left <= 10)?;
    sim.finish()?;
    Ok(sold)
}

fn main() -> Result<(), Failure> {
    let mut sold = 0;
    let count = explore(0..500, |seed| {
        sold += scenario(seed)?;
        Ok(())
    })?;
    println!("{count} runs with crashes and cuts: {sold} of {} sold, nothing twice", count * 10);
    Ok(())
}
