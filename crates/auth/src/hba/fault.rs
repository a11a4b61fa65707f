//! What is wrong with a line, and what to do about it.

use std::fmt;

use crate::oauth::IssuerError;

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// The line, from 1; with continuation lines the first of them; for inline rules what the
    /// caller said.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

impl std::error::Error for LineError {}

/// What is wrong with a line. Never shows the value of an option, which may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither rule nor map line: nobody could log in.
    #[error("no rule at all, so that nobody could log in: write at least one")]
    Empty,
    /// A character that belongs in no name.
    #[error("a NUL or line break inside a value: remove it")]
    Control,
    /// An inline value that is no single field.
    #[error("the {0} is not one value: separate by commas, and quote what contains blanks or '#'")]
    OneField(&'static str),
    /// `include`, `include_if_exists` or `include_dir`.
    #[error("\"{0}\" is not supported: put the lines into this file")]
    Include(String),
    /// `@file`.
    #[error("\"{0}\": lists in files are not supported: write the names here, separated by commas")]
    FileList(String),
    /// The first field is none of the connection types.
    #[error(
        "invalid connection type \"{0}\": use local, host, hostssl, hostnossl, hostgssenc or \
         hostnogssenc"
    )]
    ConnectionType(String),
    /// The line ends too early; what is missing.
    #[error("the line ends before the {0}")]
    Missing(&'static str),
    /// Something after the last field.
    #[error("the line goes on after the {0}: quote values that contain blanks")]
    Trailing(&'static str),
    /// A list where one value is allowed.
    #[error("several values for the {0}: write a line for each")]
    Several(&'static str),
    /// A regular expression that cannot be used.
    #[error("invalid regular expression \"{text}\": {reason}")]
    Pattern {
        /// Without the leading slash.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A host name or a suffix of one.
    #[error(
        "host names are not supported (\"{0}\"): give an IP address with the length of its mask, \
         or all, samehost or samenet"
    )]
    HostName(String),
    /// An address on a `local` line, which only an inline rule can have.
    #[error("\"local\" has no address: remove it, or use host")]
    LocalAddress,
    /// Neither address nor name.
    #[error("invalid IP address \"{0}\"")]
    Address(String),
    /// The part after the slash.
    #[error("invalid mask length \"{0}\": 0 to 32 for IPv4, 0 to 128 for IPv6")]
    MaskLength(String),
    /// The field after an address without a slash.
    #[error(
        "invalid IP mask \"{0}\": write the address as 192.0.2.1/32, or give a mask like \
         255.255.255.255 after it"
    )]
    Mask(String),
    /// IPv4 beside IPv6.
    #[error("IP address and mask do not match: one is IPv4, the other IPv6")]
    MaskFamily,
    /// A method of PostgreSQL's that is not ours, or of nobody's.
    #[error(
        "authentication method \"{0}\" is not supported: use scram-sha-256 (md5 means the same), \
         cert, ldap, oauth, peer, trust or reject"
    )]
    Method(String),
    /// `samerole`, or `+role` in a rule or a map.
    #[error(
        "samerole and +role need somebody to ask who is in which role: set auth.query_user, or \
         write the names"
    )]
    Groups,
    /// A rule that wants a certificate which TLS never asks for.
    #[error(
        "client certificates are not asked for: set proxy.tls.client_ca to the file of their \
         authority"
    )]
    NoClientCa,
    /// `peer` elsewhere than on a Unix socket.
    #[error("peer authentication is only supported on local sockets: use it in \"local\" lines")]
    PeerNotLocal,
    /// `cert` where there may be no TLS.
    #[error("cert authentication is only supported on hostssl connections: begin with hostssl")]
    CertNotTls,
    /// Something after the method without `=`.
    #[error("authentication option {0} is not in the form name=value: quote values with blanks")]
    OptionForm(usize),
    /// An option that we do not know.
    #[error("unknown authentication option \"{0}\": known are {known}", known = super::options::KNOWN_TEXT)]
    UnknownOption(String),
    /// An option of another method.
    #[error("authentication option \"{option}\" does not go with this method: it is for {methods}")]
    OptionMethod {
        /// Its name.
        option: String,
        /// What it is for.
        methods: &'static str,
    },
    /// The same option again.
    #[error("authentication option \"{0}\" is given twice: remove one")]
    OptionTwice(String),
    /// A value that the option does not take.
    #[error("invalid value for the option \"{option}\": use {values}")]
    OptionValue {
        /// Its name.
        option: &'static str,
        /// What it takes.
        values: &'static str,
    },
    /// `clientcert` where there may be no TLS.
    #[error("clientcert can only be configured for \"hostssl\" lines: begin with hostssl")]
    ClientCertNotTls,
    /// `clientcert=verify-ca` with `cert`.
    #[error(
        "clientcert only accepts \"verify-full\" when using \"cert\" authentication: leave it out"
    )]
    ClientCertWithCert,
    /// LDAP without a server.
    #[error("authentication method \"ldap\" needs the option \"ldapserver\", or \"ldapurl\"")]
    LdapServer,
    /// LDAP without a way to find the DN.
    #[error(
        "authentication method \"ldap\" needs \"ldapbasedn\" to search, or \"ldapprefix\" or \
         \"ldapsuffix\" to bind at once"
    )]
    LdapMode,
    /// Options of both modes of LDAP.
    #[error(
        "ldapprefix and ldapsuffix cannot be used together with ldapbasedn, ldapbinddn, \
         ldapbindpasswd, ldapsearchattribute or ldapsearchfilter: choose one way"
    )]
    LdapModes,
    /// Two ways to search.
    #[error("cannot use ldapsearchattribute together with ldapsearchfilter: choose one")]
    LdapSearch,
    /// `ldaptls=1` over `ldaps`.
    #[error("ldaptls=1 is for the scheme ldap: remove it, or ldapscheme=ldaps")]
    LdapTls,
    /// `ldapurl` that is none.
    #[error(
        "invalid ldapurl: write ldap[s]://host[:port]/base?attribute?scope?filter, where the scope \
         is base, one or sub, and other characters are percent-encoded"
    )]
    LdapUrl,
    /// An option that repeats or contradicts the URL.
    #[error("ldapurl has what {0} says: remove one of them")]
    LdapUrlAnd(&'static str),
    /// `oauth` where there is no TLS.
    #[error("oauth authentication is only supported inside TLS: begin with hostssl")]
    OauthNotTls,
    /// `oauth` without keys.
    #[error(
        "the keys of the tokens' issuer are not known: set audience, and jwks_url or jwks_file, in \
         [auth.oauth]"
    )]
    OauthKeys,
    /// `oauth` without an issuer.
    #[error(
        "nothing says whose tokens are taken: add the option \"issuer\", or set auth.oauth.issuer"
    )]
    OauthIssuer,
    /// `oauth` with an issuer that is none.
    #[error("invalid value for the option \"issuer\": {0}")]
    OauthIssuerForm(IssuerError),
    /// A map that is not in the ident maps.
    #[error("no ident map \"{0}\": define it, or correct the option \"map\"")]
    UnknownMap(String),
    /// `\1` without a group.
    #[error("\"{0}\" refers to \\1, but the regular expression has no group in parentheses")]
    NoGroup(String),
}
