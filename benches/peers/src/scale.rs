//! How our own costs grow.

pub fn point(_: &str, _: &str) -> Result<(), String> {
    Err(String::new())
}
pub fn all(_: &[&str]) -> Result<(), String> {
    Err(String::new())
}
