//! Socket addresses in the kernel's form.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use corelane_core::Endpoint;

/// A `sockaddr_in` or `sockaddr_in6`; the family, which both have in the same place, says which. Twenty-eight bytes instead of the
/// 128 of `sockaddr_storage`: one fewer cache line per datagram.
#[derive(Copy, Clone)]
#[repr(C)]
pub(crate) union RawAddress {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

const V4: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;
const V6: libc::socklen_t = size_of::<libc::sockaddr_in6>() as libc::socklen_t;

impl RawAddress {
    /// Room for the longest address.
    pub(crate) const SIZE: libc::socklen_t = size_of::<RawAddress>() as libc::socklen_t;

    /// No address.
    pub(crate) const EMPTY: RawAddress = {
        // SAFETY: all-zero bytes are a valid value of both plain C structs.
        unsafe { mem::zeroed() }
    };

    /// The kernel's form of an endpoint, and how many bytes of it count. Scope ids are zero: a SIP peer is never link-local.
    pub(crate) fn new(endpoint: Endpoint) -> (RawAddress, libc::socklen_t) {
        let mut raw = RawAddress::EMPTY;
        match endpoint.ip {
            IpAddr::V4(ip) => {
                raw.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: endpoint.port.to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    sin_zero: [0; 8],
                };
                (raw, V4)
            }
            IpAddr::V6(ip) => {
                raw.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: endpoint.port.to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    sin6_scope_id: 0,
                };
                (raw, V6)
            }
        }
    }

    /// An address from the first `length` bytes that the kernel wrote into `bytes`.
    pub(crate) fn from_bytes(bytes: &[u8]) -> (RawAddress, libc::socklen_t) {
        let length = bytes.len().min(size_of::<RawAddress>());
        let mut raw = RawAddress::EMPTY;
        // SAFETY: `length` bounds both sides; the union is plain bytes, every pattern of which is valid.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut raw).cast::<u8>(), length) };
        (raw, length as libc::socklen_t)
    }

    /// The endpoint, or `None` when the kernel wrote another family or too few bytes.
    pub(crate) fn endpoint(&self, length: libc::socklen_t) -> Option<Endpoint> {
        // SAFETY: the union is never uninitialised (made zeroed), and the family is in the same place of both structs.
        let family = libc::c_int::from(unsafe { self.v4.sin_family });
        match family {
            libc::AF_INET if length >= V4 => {
                // SAFETY: the family says that this is the variant; plain bytes in any case.
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(Endpoint::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 if length >= V6 => {
                // SAFETY: as above.
                let v6 = unsafe { self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(Endpoint::new(IpAddr::V6(ip), u16::from_be(v6.sin6_port)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RawAddress;
    use corelane_core::Endpoint;
    use std::net::SocketAddr;

    #[test]
    fn an_endpoint_survives_the_kernels_form() {
        for text in ["192.0.2.7:5060", "[2001:db8::1]:65535", "0.0.0.0:0"] {
            let endpoint = Endpoint::from(text.parse::<SocketAddr>().expect("a literal"));
            let (raw, length) = RawAddress::new(endpoint);
            assert_eq!(raw.endpoint(length), Some(endpoint));
            assert_eq!(raw.endpoint(length - 1), None, "a short name is no address");
        }
        assert_eq!(RawAddress::EMPTY.endpoint(RawAddress::SIZE), None);
    }
}
