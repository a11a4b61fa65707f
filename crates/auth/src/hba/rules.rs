//! All rules, in their order.

use super::token::{Line, lines};
use super::{
    CertificateCheck, ClientCertificate, Connection, Decision, Facts, Fault, InlineRule, LineError,
    Maps, Method, Refusal, Rule,
};

/// The rules in their order: the first that matches counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Reads the text of a pg_hba.conf.
    ///
    /// # Errors
    /// Every line that cannot be used, in their order; or that there is none at all.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        let (lines, errors) = lines(text);
        let rules = lines.into_iter().map(|Line { number, fields }| {
            Rule::parse(number, fields).map_err(|fault| LineError { line: number, fault })
        });
        Self::collect(rules, errors)
    }

    /// Takes rules that are written somewhere else.
    ///
    /// # Errors
    /// As [`Rules::parse`], with the lines that the rules name.
    pub fn inline<'a>(
        rules: impl IntoIterator<Item = InlineRule<'a>>,
    ) -> Result<Self, Vec<LineError>> {
        let rules = rules.into_iter().map(|rule| {
            let line = rule.line;
            rule.parse().map_err(|fault| LineError { line, fault })
        });
        Self::collect(rules, Vec::new())
    }

    /// The rules where none are configured: a password from everybody, anywhere.
    pub fn scram_everywhere() -> Self {
        let text = "local all all scram-sha-256\nhost all all all scram-sha-256";
        // A test reads it.
        Self::parse(text).unwrap_or(Self(Vec::new()))
    }

    /// What becomes of a client. No match refuses it.
    pub fn decide(&self, connection: &Connection<'_>, facts: &dyn Facts) -> Decision<'_> {
        let Some(rule) = self.0.iter().find(|rule| rule.matches(connection, facts)) else {
            return Decision::Refuse(Refusal::NoEntry);
        };
        let line = rule.line;
        if rule.method == Method::Reject {
            return Decision::Refuse(Refusal::Rejected { line });
        }
        match (rule.certificate, connection.certificate()) {
            (CertificateCheck::None, _) | (_, ClientCertificate::Verified { .. }) => {
                Decision::Ask(rule)
            }
            (_, ClientCertificate::None) => Decision::Refuse(Refusal::NoCertificate { line }),
        }
    }

    /// Whether deciding may ask who is in which group: if not, nobody need know.
    pub fn ask_for_groups(&self) -> bool {
        self.0.iter().any(Rule::asks_for_groups)
    }

    /// Whether any rule wants something of client certificates, so that TLS has to ask for them.
    pub fn ask_for_certificates(&self) -> bool {
        self.0.iter().any(|rule| rule.certificate != CertificateCheck::None)
    }

    /// The rules whose ident map is not among `maps`, where nobody could log in.
    pub fn unknown_maps(&self, maps: &Maps) -> Vec<LineError> {
        let unknown = self.0.iter().filter_map(|rule| {
            let map = rule.method.map().filter(|map| !maps.contains(map))?;
            Some(LineError { line: rule.line, fault: Fault::UnknownMap(map.to_owned()) })
        });
        unknown.collect()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    fn collect(
        rules: impl Iterator<Item = Result<Rule, LineError>>,
        mut errors: Vec<LineError>,
    ) -> Result<Self, Vec<LineError>> {
        let mut good = Vec::new();
        for rule in rules {
            match rule {
                Ok(rule) => good.push(rule),
                Err(error) => errors.push(error),
            }
        }
        if good.is_empty() && errors.is_empty() {
            errors.push(LineError { line: 1, fault: Fault::Empty });
        }
        errors.sort_by_key(|error| error.line);
        if errors.is_empty() { Ok(Self(good)) } else { Err(errors) }
    }
}
