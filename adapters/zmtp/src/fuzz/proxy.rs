//! The forwarder against a forwarder that is slow and obvious.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::Choices;
use crate::{FanoutLimits, Message, PeerId, Proxy, Wish};

const LIMITS: FanoutLimits = FanoutLimits { peers: 4, queue_bytes: 400, subscription_bytes: 300 };

/// What the limits of the machine mean, in the terms of this model.
const COST: usize = 64;

#[derive(Default)]
struct Model {
    /// Of each publisher, what it was told.
    publishers: BTreeMap<PeerId, BTreeSet<Vec<u8>>>,
    /// Of each subscriber, what it wants and what waits for it.
    subscribers: BTreeMap<PeerId, (BTreeSet<Vec<u8>>, Vec<Message>)>,
}

impl Model {
    fn wanted(&self) -> BTreeSet<Vec<u8>> {
        self.subscribers.values().flat_map(|(wants, _)| wants.iter().cloned()).collect()
    }

    fn message(&mut self, message: &Message) -> (usize, usize) {
        let (mut queued, mut dropped) = (0, 0);
        for (wants, queue) in self.subscribers.values_mut() {
            if !wants.iter().any(|prefix| message.topic().starts_with(prefix)) {
                continue;
            }
            let cost = |message: &Message| message.wire().len() + COST;
            if queue.iter().map(cost).sum::<usize>() + cost(message) > LIMITS.queue_bytes {
                dropped += 1;
            } else {
                queue.push(message.clone());
                queued += 1;
            }
        }
        (queued, dropped)
    }
}

/// A topic of few letters, so that prefixes meet.
fn topic(choices: &mut Choices<'_>) -> Vec<u8> {
    let length = choices.byte() % 5;
    (0..length).map(|_| b'a' + choices.byte() % 2).collect()
}

/// A forwarder under any operations: the same messages to the same peers, the same drops, and
/// publishers that know what is wanted as soon as they have nothing to be told.
///
/// # Panics
/// If it differs from the model, or a counter does not add up.
pub fn proxy(data: &[u8]) {
    let mut choices = Choices(data);
    let (mut proxy, mut model) = (Proxy::new(LIMITS), Model::default());
    let mut steps = 0;
    while !choices.is_over() && steps < 300 {
        steps += 1;
        step(&mut choices, &mut proxy, &mut model);
        check(&proxy, &model);
    }
}

fn step(choices: &mut Choices<'_>, proxy: &mut Proxy, model: &mut Model) {
    let choice = choices.byte();
    let number = u64::from(choice >> 4) % 6;
    let (publisher, subscriber) = (PeerId(number), PeerId(100 + number));
    let mut woken = Vec::new();
    match choice & 15 {
        0 => {
            let fits = model.publishers.len() < LIMITS.peers;
            let is_new = !model.publishers.contains_key(&publisher);
            assert_eq!(proxy.add_publisher(publisher).is_ok(), fits && is_new);
            if fits && is_new {
                model.publishers.insert(publisher, BTreeSet::new());
            }
        }
        1 => {
            let fits = model.subscribers.len() < LIMITS.peers;
            let is_new = !model.subscribers.contains_key(&subscriber);
            assert_eq!(proxy.add_subscriber(subscriber).is_ok(), fits && is_new);
            if fits && is_new {
                model.subscribers.insert(subscriber, Default::default());
            }
        }
        2 => {
            proxy.remove(publisher, &mut woken);
            model.publishers.remove(&publisher);
        }
        3 => {
            let left = proxy.remove(subscriber, &mut woken);
            let gone = model.subscribers.remove(&subscriber);
            assert_eq!(left, gone.map_or(0, |(_, queue)| queue.len()));
        }
        4..=6 => subscribe(choices, proxy, model, subscriber),
        7 => cancel(choices, proxy, model, subscriber),
        8..=11 => {
            let message = Message::new(&topic(choices), &[choices.bytes(90)]);
            let published = proxy.message(&message, &mut woken);
            let found = (published.queued, published.dropped);
            assert_eq!(found, model.message(&message));
            woken.iter().for_each(|peer| assert_eq!(proxy.subscribers().waiting(*peer).0, 1));
        }
        12 | 13 => take(choices, proxy, model, subscriber),
        _ => {
            let most = 1 + choices.byte() % 4;
            for _ in 0..most {
                tell(proxy, model, publisher);
            }
        }
    }
}

fn subscribe(choices: &mut Choices<'_>, proxy: &mut Proxy, model: &mut Model, subscriber: PeerId) {
    let prefix = topic(choices);
    let wish = Wish::Subscribe(Bytes::from(prefix.clone()));
    let taken = proxy.wish(subscriber, wish, &mut Vec::new()).is_ok();
    let Some((wants, _)) = model.subscribers.get_mut(&subscriber) else {
        assert!(!taken);
        return;
    };
    let costs: usize = wants.iter().map(|prefix| prefix.len() + COST).sum();
    let fits = costs + prefix.len() + COST <= LIMITS.subscription_bytes;
    assert_eq!(taken, fits || wants.contains(&prefix));
    if taken {
        wants.insert(prefix);
    }
}

fn cancel(choices: &mut Choices<'_>, proxy: &mut Proxy, model: &mut Model, subscriber: PeerId) {
    let prefix = topic(choices);
    let wish = Wish::Cancel(Bytes::from(prefix.clone()));
    let taken = proxy.wish(subscriber, wish, &mut Vec::new()).is_ok();
    let known = model.subscribers.get_mut(&subscriber);
    assert_eq!(taken, known.is_some());
    if let Some((wants, _)) = known {
        wants.remove(&prefix);
    }
}

fn take(choices: &mut Choices<'_>, proxy: &mut Proxy, model: &mut Model, subscriber: PeerId) {
    let (bytes, mut taken) = (usize::from(choices.byte()), Vec::new());
    proxy.take(subscriber, bytes, &mut taken);
    let Some((_, queue)) = model.subscribers.get_mut(&subscriber) else {
        assert!(taken.is_empty());
        return;
    };
    assert_eq!(taken.is_empty(), queue.is_empty());
    let expected: Vec<_> = queue.drain(..taken.len()).collect();
    assert_eq!(taken, expected);
    let length: usize = taken.iter().map(|message| message.wire().len()).sum();
    assert!(taken.len() <= 1 || length <= bytes);
}

/// Tells a publisher the next wish, if there is one: it must be news.
fn tell(proxy: &mut Proxy, model: &mut Model, publisher: PeerId) -> bool {
    let Some(wish) = proxy.next_wish(publisher) else { return false };
    let Some(told) = model.publishers.get_mut(&publisher) else {
        panic!("a wish for a publisher that there is not");
    };
    match wish {
        Wish::Subscribe(prefix) => assert!(told.insert(prefix.to_vec()), "told twice"),
        Wish::Cancel(prefix) => assert!(told.remove(&prefix[..]), "it did not know of it"),
    }
    true
}

fn check(proxy: &Proxy, model: &Model) {
    let wanted = model.wanted();
    let found: BTreeSet<Vec<u8>> = proxy.publishers().wanted().map(|p| p.to_vec()).collect();
    assert_eq!(found, wanted);
    for publisher in model.publishers.keys() {
        // On copies: told to the end, it knows what is wanted.
        let (mut proxy, told) = (proxy.clone(), model.publishers.clone());
        let mut model = Model { publishers: told, ..Model::default() };
        while tell(&mut proxy, &mut model, *publisher) {}
        assert_eq!(model.publishers[publisher], wanted);
    }
    for (subscriber, (_, queue)) in &model.subscribers {
        assert_eq!(proxy.subscribers().waiting(*subscriber).0, queue.len());
    }
    let tally = proxy.tally();
    let waiting: usize = model.subscribers.values().map(|(_, queue)| queue.len()).sum();
    assert_eq!(tally.queued, tally.taken + tally.left + waiting as u64, "each copy is somewhere");
}
