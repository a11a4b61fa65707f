//! The status page: one file without anything from elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("page/style.css");

const SCRIPT: &str = include_str!("page/page.js");

/// The shell has two places to fill in.
const SHELL: &str = include_str!("page/page.html");

/// The page and the policy that goes with it.
#[derive(Debug)]
pub(crate) struct Html {
    pub(crate) text: String,
    /// `Content-Security-Policy`: no style or script but ours, nothing from elsewhere.
    pub(crate) policy: String,
}

impl Html {
    pub(crate) fn new() -> Self {
        let policy = format!(
            "default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-{}'; \
             script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        let text = SHELL.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", SCRIPT);
        Self { text, policy }
    }
}

fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is between two marks.
    fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
        let (_, rest) = text.split_once(begin).unwrap();
        rest.split_once(end).unwrap().0
    }

    #[test]
    fn the_policy_allows_what_is_in_the_page_and_nothing_else() {
        let Html { text: html, policy } = Html::new();
        for tag in ["style", "script"] {
            let inside = between(&html, &format!("<{tag}>"), &format!("</{tag}>"));
            assert!(policy.contains(&format!("{tag}-src 'sha256-{}'", hash(inside))), "{tag}");
            assert_eq!(html.matches(&format!("<{tag}")).count(), 1, "{tag}");
        }
        assert!(!policy.contains("unsafe"));
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_no_name_is_read_as_html() {
        let Html { text: html, .. } = Html::new();
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=\"",
            " onclick",
        ] {
            assert!(!html.contains(word), "{word}");
        }
        let links = html.match_indices("http").filter(|(at, _)| {
            let link = &html[*at..];
            link.starts_with("http:") || link.starts_with("https:")
        });
        for (at, _) in links {
            // A name space, which nobody fetches.
            assert!(html[at..].starts_with("http://www.w3.org/2000/svg"), "{}", &html[at..at + 40]);
        }
        assert!(html.contains("<noscript>"));
    }
}
