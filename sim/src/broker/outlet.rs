//! What a broker has for one client: a connection that takes so much, and what is pending.

use std::collections::VecDeque;

use super::{Action, Client, Parcel, Why};

/// What becomes of one too many.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Overflow {
    /// The client is cut off, and all that is pending goes.
    CutOff,
    /// It is dropped.
    DropNewest,
}

#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Outlet {
    pub(super) on: bool,
    /// On the connection, and not taken.
    under_way: usize,
    pending: VecDeque<Parcel>,
    bound: Option<usize>,
}

impl Outlet {
    pub(super) fn connects(&mut self, actions: &mut Vec<Action>) {
        self.ends(Why::Disconnected, actions);
        self.on = true;
    }

    /// The connection has ended, and what was pending on it is dropped.
    pub(super) fn ends(&mut self, why: Why, actions: &mut Vec<Action>) {
        self.on = false;
        self.under_way = 0;
        actions.extend(self.pending.drain(..).map(|parcel| Action::Dropped(parcel, why)));
    }

    pub(super) const fn bound(&mut self, bound: Option<usize>) {
        self.bound = bound;
    }

    pub(super) fn held(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn put(
        &mut self,
        to: Client,
        parcel: Parcel,
        (window, usual): (usize, usize),
        overflow: Overflow,
        actions: &mut Vec<Action>,
    ) {
        if self.under_way < window && self.pending.is_empty() {
            self.under_way += 1;
            actions.push(Action::Deliver { to, parcel, again: false });
            return;
        }
        if self.pending.len() < self.bound.unwrap_or(usual) {
            self.pending.push_back(parcel);
            return;
        }
        match overflow {
            Overflow::DropNewest => actions.push(Action::Dropped(parcel, Why::HighWater)),
            Overflow::CutOff => {
                actions.push(Action::CutOff(to));
                self.ends(Why::SlowConsumer, actions);
                actions.push(Action::Dropped(parcel, Why::SlowConsumer));
            }
        }
    }

    /// The client has taken one, so there is room for the next.
    pub(super) fn taken(&mut self, to: Client, actions: &mut Vec<Action>) {
        if self.under_way == 0 {
            return;
        }
        match self.pending.pop_front() {
            Some(parcel) => actions.push(Action::Deliver { to, parcel, again: false }),
            None => self.under_way -= 1,
        }
    }
}
