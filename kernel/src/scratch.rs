//! A buffer that is kept only to save allocations and is no part of the state.

use core::hash::{Hash, Hasher};

/// Always empty between calls: hence equal to every other, and a clone is empty.
#[derive(Default, Debug)]
pub(crate) struct Scratch<T>(pub(crate) T);

impl<T: Default> Clone for Scratch<T> {
    fn clone(&self) -> Self {
        Self(T::default())
    }
}

impl<T> PartialEq for Scratch<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Scratch<T> {}

impl<T> Hash for Scratch<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
