//! All rules, in their order.

use super::token::{Line, lines};
use super::{
    Address, CertificateCheck, ClientCertificate, Connection, Decision, Facts, Fault, HostKind,
    InlineRule, LineError, Maps, Method, Origin, Refusal, Rule, TokenIssuer,
};
use crate::oauth::Issuer;

/// The rules in their order: the first that matches counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Reads the text of a pg_hba.conf.
    ///
    /// # Errors
    /// Every line that cannot be used, in their order; or that there is none at all.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        strict(Self::read(text))
    }

    /// Reads the text of a pg_hba.conf: the rules that can be used, and every line that cannot, in
    /// their order. To say all that is wrong at once; rules beside errors must not be used.
    pub fn read(text: &str) -> (Self, Vec<LineError>) {
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
        strict(Self::read_inline(rules))
    }

    /// As [`Rules::read`], with rules that are written somewhere else.
    pub fn read_inline<'a>(
        rules: impl IntoIterator<Item = InlineRule<'a>>,
    ) -> (Self, Vec<LineError>) {
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

    /// The rules whose ident map is not among `maps`, where nobody could log in.
    pub fn unknown_maps(&self, maps: &Maps) -> Vec<LineError> {
        self.faults(|rule| {
            let map = rule.method.map().filter(|map| !maps.contains(map))?;
            Some(Fault::UnknownMap(map.to_owned()))
        })
    }

    /// The rules that need somebody to ask who is in which role: without, they would match nobody,
    /// also not those whom they are to keep out.
    pub fn ask_for_groups(&self) -> Vec<LineError> {
        self.faults(|rule| rule.asks_for_groups().then_some(Fault::Groups))
    }

    /// The rules by bearer tokens that nobody could log in by: nobody knows whose tokens, or they
    /// are for connections without TLS, on which no token is taken. `configured` is what is said
    /// of the issuer beside the rules.
    pub fn without_tokens(&self, configured: TokenIssuer) -> Vec<LineError> {
        self.faults(|rule| {
            let Method::Oauth(oauth) = &rule.method else { return None };
            match (rule.origin, &oauth.issuer, configured) {
                (Origin::Local | Origin::Host(HostKind::NoSsl | HostKind::GssEnc, _), ..) => {
                    Some(Fault::OauthNotTls)
                }
                (.., TokenIssuer::Unknown) => Some(Fault::OauthKeys),
                (_, None, TokenIssuer::Unnamed) => Some(Fault::OauthIssuer),
                (_, Some(issuer), _) => Issuer::new(issuer).err().map(Fault::OauthIssuerForm),
                (_, None, TokenIssuer::Named) => None,
            }
        })
    }

    /// The rules that want something of client certificates: nobody could log in by them where
    /// TLS does not ask for certificates.
    pub fn without_certificates(&self) -> Vec<LineError> {
        self.faults(|rule| {
            (rule.certificate != CertificateCheck::None).then_some(Fault::NoClientCa)
        })
    }

    /// Whether deciding may ask for the addresses of this machine.
    pub fn ask_for_interfaces(&self) -> bool {
        self.0.iter().any(|rule| {
            matches!(rule.origin, Origin::Host(_, Address::SameHost | Address::SameNet))
        })
    }

    fn faults(&self, fault: impl Fn(&Rule) -> Option<Fault>) -> Vec<LineError> {
        let faults = self.0.iter().map(|rule| (rule.line, fault(rule)));
        faults.filter_map(|(line, fault)| Some(LineError { line, fault: fault? })).collect()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    fn collect(
        rules: impl Iterator<Item = Result<Rule, LineError>>,
        mut errors: Vec<LineError>,
    ) -> (Self, Vec<LineError>) {
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
        (Self(good), errors)
    }
}

/// All or nothing.
pub(super) fn strict<T>((good, errors): (T, Vec<LineError>)) -> Result<T, Vec<LineError>> {
    if errors.is_empty() { Ok(good) } else { Err(errors) }
}
