//! Children that live on other nodes: who decides about them, who runs them, and for how long.
//!
//! ```text
//!    owner                                              host
//!    Supervisor ── Start, Signal ──▶ Placement ── Order ──▶ Host ── Start, Signal ──▶ its driver
//!               ◀── the same facts ──           ◀─ Report ─      ◀── the same facts ──
//!                                               ◀─ Renew ──
//!                                               ── Renewed ▶     (the lease)
//! ```
//!
//! The supervisor does not know where its children live: [`Placement`] takes its orders for those
//! that are placed elsewhere and answers with the facts that a driver would tell. [`Host`] does at
//! the other end what a supervisor would, but decides nothing: what to run and when to run it again
//! is the owner's affair, and so is the budget.
//!
//! The hard case is a host that is out of sight and alive. It must not go on when the child is
//! started somewhere else, so all that it runs is leased. It counts a lease from the moment at
//! which it *asked*, the owner from the moment at which it *answered*, which is later: the owner's
//! view ends last, whatever the wire does. Within one boot of a host no waiting is needed, since
//! it ends the old process itself before it starts the next one.
//!
//! Membership has questions and answers too, but its answers do not name the boot that asked, and
//! its period is that of the detector. So leases have frames of their own, which only flow while
//! something is hosted.
//!
//! The alternative, a supervisor on each worker with a budget of its own, is civitas Z16: the two
//! budgets disagree, and no strategy reaches across nodes.

mod frame;
mod host;
mod placement;

pub use frame::{Config, Frame, Refusal, Stamp, State, Ticket, Want};
pub use host::{HOSTED, Host, Hosting};
pub use placement::{Decision, PlaceError, Placement, Stage};
