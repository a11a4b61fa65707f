//! "Did you mean": the known name nearest to a misspelt one.

/// PgBouncer's and HAProxy's names for what is called otherwise here.
const FOREIGN: [(&str, &str); 25] = [
    ("auth_dbname", "auth.query_database"),
    ("auth_query", "auth.query"),
    ("auth_user", "auth.query_user"),
    ("client_tls_ca_file", "proxy.tls.client_ca"),
    ("client_tls_cert_file", "proxy.tls.certificate"),
    ("client_tls_ciphers", "proxy.tls.ciphers"),
    ("client_tls_key_file", "proxy.tls.key"),
    ("client_tls_protocols", "proxy.tls.protocols"),
    ("client_tls_sslmode", "proxy.tls.mode"),
    ("default_pool_size", "pool.size"),
    ("listen_addr", "proxy.listen"),
    ("listen_port", "proxy.port"),
    ("max_client_conn", "proxy.max_client_connections"),
    ("max_prepared_statements", "pool.prepared_statements"),
    ("maxconn", "proxy.max_client_connections"),
    ("min_pool_size", "pool.min_size"),
    ("pool_mode", "pool.mode"),
    ("pool_size", "pool.size"),
    ("reserve_pool_size", "pool.reserve_size"),
    ("reserve_pool_timeout", "pool.reserve_timeout"),
    ("server_connect_timeout", "server.connect_timeout"),
    ("server_tls_ca_file", "server.tls.ca"),
    ("server_tls_ciphers", "server.tls.ciphers"),
    ("server_tls_protocols", "server.tls.protocols"),
    ("server_tls_sslmode", "server.tls.mode"),
];

/// PgBouncer's settings that nothing here stands for, and why.
const NEEDLESS: [(&str, &str); 3] = [
    ("server_check_delay", "idle servers are watched, and one that has died is not lent"),
    ("server_check_query", "idle servers are watched, and one that has died is not lent"),
    ("server_login_retry", "logins that fail are tried again after a pause that grows"),
];

/// Why a setting of another pooler is not there.
pub(crate) fn needless(name: &str) -> Option<&'static str> {
    NEEDLESS.iter().find(|(theirs, _)| *theirs == name).map(|(_, why)| *why)
}

/// The name here of another pooler's setting.
pub(crate) fn foreign(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
}

/// The candidate nearest to `name`, if near enough to be a slip of the keyboard.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A third of the letters may be wrong; a longer name than any key is not compared at all.
    if name.len() > 64 {
        return None;
    }
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two names, a swap of neighbours counting as one (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["size", "min_size", "reserve_timeout", "query_wait_timeout"];
        assert_eq!(nearest("sise", keys), Some("size"));
        assert_eq!(nearest("minsize", keys), Some("min_size"));
        assert_eq!(nearest("reserve_tiemout", keys), Some("reserve_timeout"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(10_000), keys), None);
    }

    #[test]
    fn distances() {
        for (a, b, edits) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }
}
