//! The text of a pg_hba.conf.

use std::net::{IpAddr, Ipv4Addr};

use auth::hba::{
    ClientCertificate, Connection, Decision, Encryption, Facts, Network, Peer, Purpose, Rules,
};

/// Rules that can be read can be written, read again, and asked.
///
/// # Panics
/// Something is wrong.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let rules = match Rules::parse(text) {
        Ok(rules) => rules,
        Err(errors) => {
            let told = errors.iter().map(|error| error.to_string().len()).sum::<usize>();
            assert!(!errors.is_empty() && told > 0, "refused without a word");
            return;
        }
    };
    let written: Vec<String> = rules.iter().map(ToString::to_string).collect();
    let again = Rules::parse(&written.join("\n")).expect("what was written is read");
    let rewritten: Vec<String> = again.iter().map(ToString::to_string).collect();
    assert_eq!(written, rewritten, "not its own text");
    for peer in [Peer::Local, Peer::Host(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)))] {
        let certificate = ClientCertificate::Verified { common_name: Some("bob") };
        for encryption in [Encryption::None, Encryption::Tls(certificate)] {
            let (user, database, purpose) = ("bob", "app", Purpose::Queries);
            let connection = Connection { user, database, purpose, peer, encryption };
            if let Decision::Refuse(refusal) = rules.decide(&connection, &Nobody) {
                assert_eq!(refusal.fatal(&connection).state.as_str(), "28000");
            }
        }
    }
}

/// A world in which nobody is in any group.
pub(crate) struct Nobody;

impl Facts for Nobody {
    fn is_member(&self, _: &str, _: &str) -> bool {
        false
    }

    fn interfaces(&self) -> &[Network] {
        &[]
    }
}
