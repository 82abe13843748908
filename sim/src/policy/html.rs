//! stub
use super::figures::Comparison;
impl Comparison {
    /// stub
    #[must_use]
    pub fn to_html(&self) -> String {
        String::new()
    }
}
