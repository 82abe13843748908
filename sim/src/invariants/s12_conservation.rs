//! S12: nothing is lost in silence, and nothing comes twice: every message that was sent ends, and
//! ends once.
//!
//! Source: design.md P3. What is still under way when the run is over (queued, in hand, on a link)
//! would be counted as such; after the last stop there is nothing of that kind left.

use super::Verdict;
use super::messages::Table;
use crate::record::{Record, What};

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum State {
    #[default]
    Unsent,
    Sent,
    Ended,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Conservation {
    states: Table<State>,
    sent: u64,
    ended: u64,
}

impl Conservation {
    pub(super) fn see(&mut self, record: &Record) -> Verdict {
        match record.what {
            What::Sent(message, ..) => {
                let state = self.states.of(message);
                if std::mem::replace(state, State::Sent) != State::Unsent {
                    return Err(format!("{message:?} is sent twice"));
                }
                self.sent += 1;
                Ok(())
            }
            What::Queued(message, _) | What::Delivered(message, _) | What::PutBack(message, _) => {
                let state = *self.states.of(message);
                if state == State::Sent {
                    return Ok(());
                }
                Err(format!("{message:?} is handed about, and is {state:?}"))
            }
            What::Ended(message, fate) => {
                let state = self.states.of(message);
                let was = std::mem::replace(state, State::Ended);
                if was != State::Sent {
                    return Err(format!("{message:?} ends as {fate:?}, and was {was:?}"));
                }
                self.ended += 1;
                Ok(())
            }
            What::Over if self.sent != self.ended => {
                Err(format!("{} messages were sent and {} have ended", self.sent, self.ended))
            }
            _ => Ok(()),
        }
    }
}
