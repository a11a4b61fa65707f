//! `[auth]`: looking roles up in the database.

use control::auth_query::{CacheConfig, Config};

use super::{BOUNDED, OPTIONAL, SOME};
use crate::Kind;
use crate::section::Section;

/// What means nothing unless somebody looks up.
const OTHERS: [&str; 8] = [
    "query_password",
    "query_database",
    "query",
    "query_timeout",
    "query_cache_lifetime",
    "query_cache_negative_lifetime",
    "query_cache_stale_lifetime",
    "query_cache_size",
];

/// `None` without `query_user`. Whether groups are asked for is not said here, but by the rules.
pub(super) fn read(section: &Section<'_>) -> Option<Config> {
    let default = CacheConfig::default();
    let user = section.optional_string("query_user");
    let password = section.secret("query_password");
    let database = section
        .parsed("query_database", Kind::String, Some(Config::DATABASE), |text| Ok(text.to_owned()));
    let query = section.optional_string("query");
    let timeout = section.duration("query_timeout", Config::TIMEOUT, BOUNDED);
    let cache = CacheConfig {
        lifetime: section.duration("query_cache_lifetime", default.lifetime, OPTIONAL),
        negative_lifetime: section.duration(
            "query_cache_negative_lifetime",
            default.negative_lifetime,
            OPTIONAL,
        ),
        stale_lifetime: section.duration(
            "query_cache_stale_lifetime",
            default.stale_lifetime,
            OPTIONAL,
        ),
        size: section.integer("query_cache_size", default.size, SOME),
    };
    if query.as_ref().is_some_and(|query| !query.contains("$1")) {
        section.error("query", "has no $1; that is where the role's name goes");
    }
    if !section.has("query_user") {
        for key in OTHERS.into_iter().filter(|key| section.has(key)) {
            section.error(key, "needs auth.query_user; set it, or remove this");
        }
    }
    let query = query.unwrap_or_else(|| Config::QUERY.to_owned());
    let database = database.unwrap_or_else(|| Config::DATABASE.to_owned());
    Some(Config { database, query, timeout, cache, ..Config::new(user?, password) })
}
