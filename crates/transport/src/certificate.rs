//! What is read in a certificate besides what rustls reads: whom it names and when it ends.
//!
//! Names count only once the certificate is verified, which is rustls' work and done before.

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Any, Tag, ToDer as _};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Whom a certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The first common name, which Postgres compares with the name of the user.
    pub common_name: Option<String>,
    /// The distinguished name as RFC 2253 writes it and Postgres shows it
    /// (`pg_stat_ssl.client_dn`, `clientname=DN`): `CN=alice,OU=sales,O=Example`.
    pub distinguished_name: String,
    /// The subject alternative names of the kinds that name somebody, in their order.
    pub alternative_names: Vec<AlternativeName>,
}

/// One of the alternative names of a [`Subject`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// An IP address.
    Address(IpAddr),
    /// A host name, which may begin with `*.`.
    Dns(String),
    /// A mail address.
    Email(String),
    /// A URI, such as SPIFFE's.
    Uri(String),
}

/// A certificate whose names cannot be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not one certificate in DER.
    #[error("malformed X.509 certificate")]
    Malformed,
    /// A zero byte in a name: whoever reads up to it reads another name.
    #[error("a name in the certificate contains a zero byte")]
    ZeroByte,
}

impl Subject {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// It is malformed, or a name of it is made to deceive.
    pub fn of(certificate: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse(certificate)?;
        let name = certificate.subject();
        let alternative = certificate
            .subject_alternative_name()
            .map_err(|_| CertificateError::Malformed)?
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let subject = Self {
            common_name: name.iter_common_name().next().and_then(|it| text(it.attr_value())),
            distinguished_name: distinguished_name(name),
            alternative_names: alternative.iter().filter_map(AlternativeName::read).collect(),
        };
        let zero_in_name = name
            .iter_attributes()
            .any(|it| text(it.attr_value()).is_some_and(|text| text.contains('\0')));
        let zero = zero_in_name || subject.alternative_names.iter().any(AlternativeName::has_zero);
        if zero { Err(CertificateError::ZeroByte) } else { Ok(subject) }
    }
}

impl AlternativeName {
    fn read(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(name) => Some(Self::Dns((*name).to_owned())),
            GeneralName::RFC822Name(name) => Some(Self::Email((*name).to_owned())),
            GeneralName::URI(name) => Some(Self::Uri((*name).to_owned())),
            GeneralName::IPAddress(bytes) => {
                let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let sixteen = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                four.or_else(|_| sixteen()).ok().map(Self::Address)
            }
            _ => None,
        }
    }

    fn has_zero(&self) -> bool {
        match self {
            Self::Address(_) => false,
            Self::Dns(name) | Self::Email(name) | Self::Uri(name) => name.contains('\0'),
        }
    }
}

/// When a certificate in DER ends: seconds since 1970. `None` for one that webpki may be able to
/// read, but not we.
pub(crate) fn not_after(certificate: &[u8]) -> Option<i64> {
    parse(certificate).ok().map(|certificate| certificate.validity().not_after.timestamp())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Malformed),
    }
}

/// As OpenSSL's `XN_FLAG_RFC2253` writes it: from the last to the first, with OpenSSL's short
/// names, and everything but ASCII in hexadecimal.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut sets: Vec<String> = name
        .iter_rdn()
        .map(|set| {
            let mut one: Vec<String> = set.iter().map(attribute).collect();
            one.reverse();
            one.join("+")
        })
        .collect();
    sets.reverse();
    sets.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let value = attribute.attr_value();
    let short = SHORT_NAMES.iter().find(|(known, _)| *known == oid).map(|(_, short)| *short);
    match (short, text(value)) {
        (Some(short), Some(text)) => format!("{short}={}", escaped(&text)),
        (Some(short), None) => format!("{short}=#{}", hexadecimal(value)),
        (None, _) => format!("{oid}=#{}", hexadecimal(value)),
    }
}

/// A value that is a string; strings of one byte a character are read as Latin-1, as OpenSSL
/// does whatever they may hold.
fn text(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(value.data).ok().map(str::to_owned),
        Tag::Ia5String
        | Tag::NumericString
        | Tag::PrintableString
        | Tag::TeletexString
        | Tag::VisibleString => Some(value.data.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let units = value.data.chunks(2).map(|it| it.try_into().map(u16::from_be_bytes));
            String::from_utf16(&units.collect::<Result<Vec<_>, _>>().ok()?).ok()
        }
        Tag::UniversalString => {
            let points = value.data.chunks(4).map(|it| it.try_into().map(u32::from_be_bytes));
            points.map(|it| it.ok().and_then(char::from_u32)).collect()
        }
        _ => None,
    }
}

/// RFC 2253, section 2.4, and OpenSSL's `ASN1_STRFLGS_ESC_CTRL` and `ASN1_STRFLGS_ESC_MSB`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        // OpenSSL lets a '#' pass that is all there is.
        let at_the_edge = match byte {
            b' ' => at == 0 || at == last,
            b'#' => at == 0 && last > 0,
            _ => false,
        };
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', byte.into()]),
            _ if at_the_edge => out.extend(['\\', byte.into()]),
            b' '..=b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("\\{byte:02X}")),
        }
    }
    out
}

/// The whole value, with its tag and length.
fn hexadecimal(value: &Any<'_>) -> String {
    let der = value.to_der_vec().unwrap_or_default();
    der.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// What may stand in a name, by OpenSSL's short names.
const SHORT_NAMES: [(&str, &str); 23] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];
