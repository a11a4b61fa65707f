//! Where a client may come from.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

use super::token::{Field, Token};
use super::{Facts, Fault};

/// The address of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// `all`: any.
    All,
    /// `samehost`: an address of this machine.
    SameHost,
    /// `samenet`: in a network that this machine is in.
    SameNet,
    /// In this network.
    Network(Network),
}

impl Address {
    pub(super) fn contains(&self, peer: IpAddr, facts: &dyn Facts) -> bool {
        match self {
            Self::All => true,
            Self::SameHost => {
                facts.interfaces().iter().any(|it| it.address() == peer.to_canonical())
            }
            Self::SameNet => facts.interfaces().iter().any(|it| it.contains(peer)),
            Self::Network(network) => network.contains(peer),
        }
    }

    /// Reads the address; takes the mask from `fields` if the address has none.
    pub(super) fn parse(
        token: &Token,
        fields: &mut impl Iterator<Item = Field>,
    ) -> Result<Self, Fault> {
        let keywords =
            [("all", Self::All), ("samehost", Self::SameHost), ("samenet", Self::SameNet)];
        if let Some((_, address)) = keywords.iter().find(|(word, _)| token.is_keyword(word)) {
            return Ok(*address);
        }
        if let Some((address, length)) = token.text.split_once('/') {
            let address = parse_ip(address)?;
            let network = parse_length(length).and_then(|length| Network::new(address, length));
            let fault = || Fault::MaskLength(length.to_owned());
            return network.map(Self::Network).ok_or_else(fault);
        }
        let address = parse_ip(&token.text)?;
        let mut mask = fields.next().ok_or(Fault::Missing("mask of the address"))?;
        let mask = match (mask.pop(), mask.is_empty()) {
            (Some(mask), true) => mask.text,
            _ => return Err(Fault::Several("mask of the address")),
        };
        let mask: IpAddr = mask.parse().map_err(|_| Fault::Mask(mask))?;
        Network::with_mask(address, mask).map(Self::Network).ok_or(Fault::MaskFamily)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::SameHost => f.write_str("samehost"),
            Self::SameNet => f.write_str("samenet"),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// An address and a mask. Bits outside the mask may be set and do not count.
///
/// IPv4 addresses mapped into IPv6 are the IPv4 addresses, on both sides: on a socket for both a
/// client of either kind is the same client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

impl Network {
    /// An address and the length of its mask in bits. `None` if that is longer than the address.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let mask = match address {
            IpAddr::V4(_) if length <= 32 => {
                let bits = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(bits))
            }
            IpAddr::V6(_) if length <= 128 => {
                let bits = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Self::with_mask(address, mask)
    }

    /// An address and any mask. `None` if one is IPv4 and the other IPv6.
    pub fn with_mask(address: IpAddr, mask: IpAddr) -> Option<Self> {
        let kind = match (address, mask) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => {
                Kind::V4 { address: address.to_bits(), mask: mask.to_bits() }
            }
            (IpAddr::V6(address), IpAddr::V6(mask)) => {
                let bits = mask.to_bits();
                match address.to_ipv4_mapped() {
                    // The mask covers all that makes it a mapped address; its last 32 bits
                    // remain.
                    Some(mapped) if bits >> 32 == u128::MAX >> 32 => Kind::V4 {
                        address: mapped.to_bits(),
                        mask: u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(u32::MAX),
                    },
                    _ => Kind::V6 { address: address.to_bits(), mask: bits },
                }
            }
            _ => return None,
        };
        Some(Self(kind))
    }

    /// Whether an address is in it.
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.0, peer.to_canonical()) {
            (Kind::V4 { address, mask }, IpAddr::V4(peer)) => {
                (address ^ peer.to_bits()) & mask == 0
            }
            (Kind::V6 { address, mask }, IpAddr::V6(peer)) => {
                (address ^ peer.to_bits()) & mask == 0
            }
            _ => false,
        }
    }

    /// The address as it was given, bits outside the mask included.
    pub fn address(&self) -> IpAddr {
        match self.0 {
            Kind::V4 { address, .. } => IpAddr::V4(Ipv4Addr::from_bits(address)),
            Kind::V6 { address, .. } => IpAddr::V6(Ipv6Addr::from_bits(address)),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, rest, mask) = match self.0 {
            Kind::V4 { mask, .. } => {
                let length = mask.leading_ones();
                (length, mask.checked_shl(length).unwrap_or(0).into(), Ipv4Addr::from(mask).into())
            }
            Kind::V6 { mask, .. } => {
                let length = mask.leading_ones();
                (length, mask.checked_shl(length).unwrap_or(0), IpAddr::V6(Ipv6Addr::from(mask)))
            }
        };
        if rest == 0u128 {
            write!(f, "{}/{length}", self.address())
        } else {
            write!(f, "{} {mask}", self.address())
        }
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, Fault> {
    text.parse().map_err(|_| {
        let is_numeric = text.contains(':') || text.starts_with(|c: char| c.is_ascii_digit());
        if is_numeric || text.is_empty() {
            Fault::Address(text.to_owned())
        } else {
            Fault::HostName(text.to_owned())
        }
    })
}

/// Digits and nothing else.
fn parse_length(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(address: &str, length: u8) -> Network {
        Network::new(address.parse().unwrap(), length).unwrap()
    }

    #[test]
    fn mapped_addresses_are_the_addresses_they_map() {
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
        assert!(network("10.0.0.0", 8).contains(mapped));
        assert_eq!(network("::ffff:10.0.0.0", 104), network("10.0.0.0", 8));
        assert!(network("::ffff:10.0.0.0", 104).contains("10.1.2.3".parse().unwrap()));
        // All of IPv6, and none of IPv4.
        assert!(!network("::", 0).contains("10.1.2.3".parse().unwrap()));
        assert!(network("::", 0).contains("2001:db8::1".parse().unwrap()));
        assert!(!network("0.0.0.0", 0).contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_mask_need_not_be_contiguous() {
        let odd = Network::with_mask("10.0.0.1".parse().unwrap(), "255.0.0.255".parse().unwrap());
        let odd = odd.unwrap();
        assert!(
            odd.contains("10.9.9.1".parse().unwrap()) && !odd.contains("10.9.9.2".parse().unwrap())
        );
        assert_eq!(odd.to_string(), "10.0.0.1 255.0.0.255");
        assert_eq!(Network::new("10.0.0.1".parse().unwrap(), 33), None);
        assert_eq!(Network::new("::1".parse().unwrap(), 129), None);
    }

    /// The first bits, one after the other.
    fn same_bits(left: &[u8], right: &[u8], length: u8) -> bool {
        let bit = |bytes: &[u8], at: usize| (bytes[at / 8] >> (7 - at % 8)) & 1;
        left.len() == right.len() && (0..length.into()).all(|at| bit(left, at) == bit(right, at))
    }

    proptest! {
        #[test]
        fn v4_matches_bit_by_bit(address: [u8; 4], peer: [u8; 4], length in 0..=32u8, near: bool) {
            let peer = if near { [address[0], address[1], peer[2], peer[3]] } else { peer };
            let network = Network::new(address.into(), length).unwrap();
            prop_assert_eq!(network.contains(peer.into()), same_bits(&address, &peer, length));
            prop_assert!(network.contains(address.into()));
        }

        #[test]
        fn v6_matches_bit_by_bit(address: [u8; 16], low: u16, length in 0..=128u8) {
            let mut peer = address;
            peer[14..].copy_from_slice(&low.to_be_bytes());
            let network = Network::new(address.into(), length).unwrap();
            prop_assert_eq!(network.contains(peer.into()), same_bits(&address, &peer, length));
        }
    }
}
