//! What most mailboxes never need, in a box: there may be very many mailboxes.

use std::collections::VecDeque;

use super::MailboxConfig;
use super::lane::Queue;

/// Made by the first message or control that needs it, or by unusual bounds.
pub(super) struct Rare<C, T> {
    pub(super) control: VecDeque<C>,
    pub(super) control_limit: u32,
    pub(super) priority: Queue<T>,
    pub(super) dropped: u64,
    pub(super) rejected: u64,
}

impl<C, T> Rare<C, T> {
    pub(super) fn boxed(config: MailboxConfig) -> Box<Self> {
        let MailboxConfig { priority_capacity, control_limit, .. } = config;
        let priority = Queue::new(priority_capacity);
        let control = VecDeque::new();
        Box::new(Self { control, control_limit, priority, dropped: 0, rejected: 0 })
    }
}
