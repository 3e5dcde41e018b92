//! Documentation page at `/v1/docs`: a page that reads both descriptions, and the catalogue of errors.

use std::sync::LazyLock;

use super::error_catalogue;

/// The page, which loads nothing from other hosts.
const PAGE: &str = include_str!("api.html");
/// Place of the catalogue on the page.
const CATALOGUE: &str = "<!-- error catalogue -->";

/// Returns the text of the page.
pub(super) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| PAGE.replace(CATALOGUE, &error_catalogue::html()));
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_contains_the_catalogue() {
        assert!(text().contains(&error_catalogue::html()));
    }
}
