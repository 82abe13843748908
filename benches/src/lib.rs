//! Benches only: criterion's in `benches/`, and what `.ci/instructions` counts in `src/bin`.
