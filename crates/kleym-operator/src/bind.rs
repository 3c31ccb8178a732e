//! Opening a listener. `:8081` means every address of the machine, and some machines have no IPv6 to mean it by.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

/// Listens on an address; where every address is meant and the kernel has no IPv6, on every IPv4 address.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let refusal = match TcpListener::bind(address).await {
        Ok(listener) => return Ok(listener),
        Err(refusal) => refusal,
    };
    match instead(address, refusal.kind()) {
        // The first refusal is about what was asked for.
        Some(address) => TcpListener::bind(address).await.map_err(|_| refusal),
        None => Err(refusal),
    }
}

/// What to listen on instead, if the refusal may be for lack of IPv6.
fn instead(address: SocketAddr, refusal: ErrorKind) -> Option<SocketAddr> {
    let every = matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified());
    let other = matches!(refusal, ErrorKind::AddrInUse | ErrorKind::PermissionDenied);
    (every && !other).then(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_every_address_becomes_every_ipv4_address_and_only_for_lack_of_ipv6() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let every = address("[::]:8081");
        assert_eq!(instead(every, ErrorKind::AddrNotAvailable), Some(address("0.0.0.0:8081")));
        assert_eq!(instead(every, ErrorKind::Unsupported), Some(address("0.0.0.0:8081")));
        assert_eq!(instead(every, ErrorKind::AddrInUse), None);
        assert_eq!(instead(every, ErrorKind::PermissionDenied), None);
        assert_eq!(instead(address("[::1]:8081"), ErrorKind::AddrNotAvailable), None);
        assert_eq!(instead(address("10.0.0.1:8081"), ErrorKind::AddrNotAvailable), None);
    }

    #[tokio::test]
    async fn a_taken_port_is_refused_for_what_it_is() {
        let first = bind("[::]:0".parse().unwrap()).await.unwrap();
        let taken = SocketAddr::new("::".parse().unwrap(), first.local_addr().unwrap().port());
        assert_eq!(bind(taken).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
