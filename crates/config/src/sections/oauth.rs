//! `[auth.oauth]`: whose bearer tokens are taken, and what they must say.

use std::ops::RangeInclusive;
use std::time::Duration;

use auth::hba::TokenIssuer;
use auth::oauth::Issuer;
use control::jwks;

use super::tls;
use crate::Kind;
use crate::section::Section;
use crate::settings::Oauth;

/// Issuers ask not to be asked more often; a key that was withdrawn should not live for longer.
const REFRESH: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// Clocks that are further off are broken.
const SKEW: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);

/// What the rules may count on, be there errors in the section or not.
pub(super) fn issuer(section: &Section<'_>) -> TokenIssuer {
    match (section.exists(), section.has("issuer")) {
        (false, _) => TokenIssuer::Unknown,
        (true, false) => TokenIssuer::Unnamed,
        (true, true) => TokenIssuer::Named,
    }
}

/// `None` without the section, and when something in it was reported that it cannot do without.
pub(super) fn read(section: &Section<'_>) -> Option<Oauth> {
    let issuer = section.parsed("issuer", Kind::String, None, |text| {
        Issuer::new(text).map_err(|error| error.to_string())
    });
    let audience: Vec<String> =
        section.list("audience", None).into_iter().map(|item| item.text).collect();
    let scope = section.optional_string("scope").unwrap_or_default();
    let claim = section
        .parsed("claim", Kind::String, Some(Oauth::CLAIM), |text| Ok(text.to_owned()))
        .unwrap_or_else(|| Oauth::CLAIM.to_owned());
    let clock_skew = section.duration("clock_skew", Oauth::CLOCK_SKEW, SKEW);
    let keys = keys(section);
    if section.exists() && audience.is_empty() {
        section.error(
            "audience",
            "missing; name this service as the issuer does in the claim aud, so that tokens for \
             others are not taken",
        );
    }
    Some(Oauth { issuer, audience, scope, claim, clock_skew, keys: keys? })
}

fn keys(section: &Section<'_>) -> Option<jwks::Config> {
    let file = tls::path(section, "jwks_file");
    let url = section.parsed("jwks_url", Kind::String, None, |text| {
        text.parse().map_err(|error: jwks::JwksUrlError| error.to_string())
    });
    let ca = tls::path(section, "jwks_ca_file");
    let refresh = section.duration("jwks_refresh", jwks::Config::REFRESH, REFRESH);
    match (section.has("jwks_file"), section.has("jwks_url")) {
        (true, true) => section.error("jwks_file", "jwks_url is set, too; keep one"),
        (false, false) if section.exists() => {
            section.error("", "no keys to verify tokens with; set jwks_url or jwks_file");
        }
        (_, false) => {
            for key in ["jwks_ca_file", "jwks_refresh"].into_iter().filter(|key| section.has(key)) {
                section.error(key, "belongs to jwks_url; set that, or remove this");
            }
        }
        (false, true) => {}
    }
    let url = url.map(|url| jwks::Config::Url { url, ca, refresh });
    url.or_else(|| file.map(jwks::Config::File))
}
