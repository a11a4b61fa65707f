//! Where an issuer publishes its keys.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;

/// A URL that keys are fetched from: `https`, or `http` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl(Uri);

/// A text that is none. It is not quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksUrlError {
    /// Not a URL with a scheme and a host, or one with a user.
    #[error("not a URL: write one such as \"https://id.example.com/keys\", without a user")]
    Form,
    /// `http` to somewhere else.
    #[error("keys that come by http can be anybody's: use https, or a host of this machine")]
    Plain,
}

impl JwksUrl {
    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// A name or an address, without the brackets of IPv6.
    pub(super) fn host(&self) -> &str {
        bare(&self.0)
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or_else(|| if self.is_https() { 443 } else { 80 })
    }
}

fn bare(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

impl FromStr for JwksUrl {
    type Err = JwksUrlError;

    fn from_str(text: &str) -> Result<Self, JwksUrlError> {
        let uri: Uri = text.parse().map_err(|_| JwksUrlError::Form)?;
        let has_user = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
        if has_user || bare(&uri).is_empty() {
            return Err(JwksUrlError::Form);
        }
        let is_here = match bare(&uri).parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => bare(&uri).eq_ignore_ascii_case("localhost"),
        };
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if is_here => Ok(Self(uri)),
            Some("http") => Err(JwksUrlError::Plain),
            _ => Err(JwksUrlError::Form),
        }
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        for (text, host, port) in [
            ("https://id.example.com/keys?a=b", "id.example.com", 443),
            ("https://id.example.com:8443", "id.example.com", 8443),
            ("http://127.0.0.2:8080/keys", "127.0.0.2", 8080),
            ("http://[::1]/keys", "::1", 80),
            ("http://LOCALHOST/keys", "LOCALHOST", 80),
        ] {
            let url: JwksUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port));
        }
        for text in
            ["http://id.example.com/keys", "http://10.0.0.1/", "http://localhost.example.com/"]
        {
            assert_eq!(text.parse::<JwksUrl>(), Err(JwksUrlError::Plain), "{text}");
        }
        for text in [
            "",
            "/keys",
            "id.example.com",
            "ftp://a/",
            "https://a:b@c/",
            "https:///a",
            "https://a b/",
        ] {
            assert_eq!(text.parse::<JwksUrl>(), Err(JwksUrlError::Form), "{text}");
        }
    }
}
