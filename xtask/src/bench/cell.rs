//! What is measured: the cells of the table, and which of them a run takes.

use std::fmt;

/// pgbench's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// `SELECT :aid`: as little work for the server as there is.
    Aid,
    /// pgbench's `--select-only`.
    Select,
}

/// pgbench's `--protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Simple,
    Extended,
    Prepared,
}

/// Between client and proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Plain,
    Tls,
}

/// How long a client's connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// For the whole run.
    Run,
    /// For one transaction.
    Transaction,
}

/// One load of pgbench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) script: Script,
    pub(crate) protocol: Protocol,
    pub(crate) clients: u32,
    pub(crate) link: Link,
    pub(crate) stay: Stay,
}

/// How much of everything there is to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What shows that everything works.
    Quick,
    /// What the bars are about, and beside it what an operator would ask next.
    Usual,
    /// Every script, protocol, number of clients and link with each other.
    Full,
}

pub(crate) const PROTOCOLS: [Protocol; 3] =
    [Protocol::Simple, Protocol::Extended, Protocol::Prepared];

/// Where the bars for processor time are.
pub(crate) const CLIENTS_OF_BARS: u32 = 32;

const CLIENTS: [u32; 3] = [1, CLIENTS_OF_BARS, 200];

/// The words of `--only`, by what they choose among. One of each group that is named must fit.
const GROUPS: [&[&str]; 4] = [
    &["aid", "select"],
    &["simple", "extended", "prepared"],
    &["plain", "tls"],
    &["load", "reconnect", "logins", "idle"],
];

/// What the command line narrows a run to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Words of `--only`.
    pub(crate) words: Vec<String>,
    /// `--clients`; empty for the usual ones.
    pub(crate) clients: Vec<u32>,
}

/// The loads that a run takes.
pub(crate) fn cells(extent: Extent, filter: &Filter) -> Vec<Cell> {
    let named = !filter.clients.is_empty();
    let clients = if named { &filter.clients[..] } else { &CLIENTS };
    // Somebody who says how many clients has left the beaten track.
    let full = named || extent == Extent::Full;
    let mut cells = Vec::new();
    for link in [Link::Plain, Link::Tls] {
        for script in [Script::Aid, Script::Select] {
            for protocol in PROTOCOLS {
                for &clients in clients {
                    let cell = Cell { script, protocol, clients, link, stay: Stay::Run };
                    if full || cell.is_in(extent) {
                        cells.push(cell);
                    }
                }
            }
        }
    }
    for link in [Link::Plain, Link::Tls] {
        let (script, protocol) = (Script::Aid, Protocol::Simple);
        let clients = CLIENTS_OF_BARS;
        let cell = Cell { script, protocol, clients, link, stay: Stay::Transaction };
        let fits = !named || filter.clients.contains(&clients);
        if fits && (extent != Extent::Quick || link == Link::Plain) {
            cells.push(cell);
        }
    }
    cells.retain(|cell| filter.takes(&cell.words()));
    cells
}

impl Cell {
    fn is_in(&self, extent: Extent) -> bool {
        let at_bars = self.clients == CLIENTS_OF_BARS;
        let simple = self.protocol == Protocol::Simple;
        let aid = self.script == Script::Aid;
        match (extent, self.link) {
            (Extent::Full, _) => true,
            (Extent::Usual, Link::Plain) => aid || at_bars,
            (Extent::Usual, Link::Tls) => aid && at_bars,
            (Extent::Quick, Link::Plain) => aid && (at_bars || simple),
            (Extent::Quick, Link::Tls) => aid && at_bars && simple,
        }
    }

    fn words(&self) -> [&'static str; 4] {
        let script = if self.script == Script::Aid { "aid" } else { "select" };
        let stay = if self.stay == Stay::Run { "load" } else { "reconnect" };
        [script, self.protocol.as_str(), self.link.as_str(), stay]
    }
}

impl Filter {
    /// Whether something with these words is taken: of each group that is named, one of them.
    fn takes(&self, words: &[&str]) -> bool {
        GROUPS.iter().all(|group| {
            let mut named = self.words.iter().filter(|word| group.contains(&word.as_str()));
            let first = named.next();
            first.is_none_or(|first| {
                [first].into_iter().chain(named).any(|word| words.contains(&word.as_str()))
            })
        })
    }

    /// Whether the idle clients of a link are.
    pub(crate) fn takes_idle(&self, link: Link) -> bool {
        self.clients.is_empty() && self.takes(&[link.as_str(), "idle"])
    }

    /// Whether the logins of a link are.
    pub(crate) fn takes_logins(&self, link: Link) -> bool {
        self.clients.is_empty() && self.takes(&[link.as_str(), "logins"])
    }

    /// Whether it is a word at all.
    pub(crate) fn is_word(word: &str) -> bool {
        GROUPS.iter().any(|group| group.contains(&word))
    }

    /// All words, for the usage.
    pub(crate) fn all_words() -> String {
        GROUPS.concat().join(" ")
    }
}

impl Protocol {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
        }
    }
}

impl Link {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [script, protocol, link, stay] = self.words();
        let script = if script == "aid" { "SELECT :aid" } else { "-S" };
        write!(f, "{script}, {protocol}, {} clients, {link}", self.clients)?;
        if stay == "reconnect" { f.write_str(", reconnecting") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(extent: Extent, words: &[&str], clients: &[u32]) -> Vec<String> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let filter = Filter { words, clients: clients.to_vec() };
        cells(extent, &filter).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_usual_extent_has_a_cell_for_every_bar() {
        let usual = names(Extent::Usual, &[], &[]);
        for protocol in ["simple", "extended", "prepared"] {
            for clients in [1, 32, 200] {
                assert!(
                    usual.contains(&format!("SELECT :aid, {protocol}, {clients} clients, plain"))
                );
            }
            assert!(usual.contains(&format!("SELECT :aid, {protocol}, 32 clients, tls")));
        }
    }

    #[test]
    fn words_of_a_group_widen_and_words_of_another_narrow() {
        assert_eq!(
            names(Extent::Usual, &["simple", "prepared", "aid", "load", "plain"], &[32]),
            ["SELECT :aid, simple, 32 clients, plain", "SELECT :aid, prepared, 32 clients, plain"]
        );
        assert_eq!(
            names(Extent::Quick, &["reconnect"], &[]),
            ["SELECT :aid, simple, 32 clients, plain, reconnecting"]
        );
        assert!(names(Extent::Usual, &["idle"], &[]).is_empty());
    }

    #[test]
    fn numbers_of_clients_are_taken_as_named() {
        let loads = names(Extent::Usual, &["aid", "simple", "plain"], &[10_000]);
        assert_eq!(loads, ["SELECT :aid, simple, 10000 clients, plain"]);
    }

    #[test]
    fn idle_clients_have_a_link_and_no_protocol() {
        let filter = |words: &[&str]| Filter {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            clients: Vec::new(),
        };
        assert!(filter(&[]).takes_idle(Link::Tls));
        assert!(filter(&["idle", "tls"]).takes_idle(Link::Tls));
        assert!(!filter(&["idle", "plain"]).takes_idle(Link::Tls));
        assert!(!filter(&["simple"]).takes_idle(Link::Plain));
    }
}
