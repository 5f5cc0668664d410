//! The header of the PROXY protocol, versions 1 and 2, by which a proxy that passes connections on as
//! they are tells whose they are (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! It is read to its last byte and no further: what follows is TLS, or HTTP. Why no crate: ADR 0024.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What every header of version 2 begins with; as long as the shortest of version 1 less its end.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 1 is a line; the longest that the specification allows, its end included.
const LONGEST_LINE: usize = 107;
/// Addresses and additions of version 2. The specification has 216 bytes of addresses, and proxies add some
/// hundred; 64 KiB would be a gift.
const LONGEST_BLOCK: usize = 4 * 1024;

/// A header that is none, or that this listener does not take.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the connection broke or ended")]
    Io(#[from] io::Error),
    #[error("no header of the PROXY protocol")]
    Malformed,
}

/// Reads the header. `None`: the proxy speaks for itself (a health check), or does not know the client.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, HeaderError> {
    let mut begin = [0; SIGNATURE.len()];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE { read_block(stream).await } else { read_line(stream, &begin).await }
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin), begin: &[u8]) -> Result<Option<IpAddr>, HeaderError> {
    let mut line = begin.to_vec();
    if !line.starts_with(b"PROXY ") {
        return Err(HeaderError::Malformed);
    }
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(HeaderError::Malformed);
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix("\r\n"));
    let rest = line.and_then(|line| line.strip_prefix("PROXY ")).ok_or(HeaderError::Malformed)?;
    // Whatever may follow is to be ignored.
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    parse_addresses(rest).map(Some).ok_or(HeaderError::Malformed)
}

/// The source of what follows `PROXY `.
fn parse_addresses(text: &str) -> Option<IpAddr> {
    let mut words = text.split(' ');
    let (family, source, destination) = (words.next()?, words.next()?, words.next()?);
    let ports = [words.next()?, words.next()?];
    if words.next().is_some() || !ports.into_iter().all(is_port) {
        return None;
    }
    let parse: fn(&str) -> Option<IpAddr> = match family {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return None,
    };
    parse(destination)?;
    Some(parse(source)?.to_canonical())
}

/// Decimal, without a sign or leading zeros.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port.to_string() == text)
}

async fn read_block(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, HeaderError> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    let [command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_BLOCK {
        return Err(HeaderError::Malformed);
    }
    let mut block = vec![0; length];
    stream.read_exact(&mut block).await?;
    parse_block(command, family, &block)
}

/// What follows the addresses is of no use here.
fn parse_block(command: u8, family: u8, block: &[u8]) -> Result<Option<IpAddr>, HeaderError> {
    /// Version 2 and what it says of the connection.
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    /// Address family and transport.
    const UNSPECIFIED: u8 = 0x00;
    const TCP4: u8 = 0x11;
    const TCP6: u8 = 0x21;
    /// Two ports of two bytes.
    const PORTS: usize = 4;
    match (command, family) {
        (LOCAL, _) | (PROXY, UNSPECIFIED) => Ok(None),
        (PROXY, TCP4) if block.len() >= 2 * 4 + PORTS => {
            let source: Option<[u8; 4]> = block.first_chunk().copied();
            Ok(source.map(|source| Ipv4Addr::from(source).into()))
        }
        (PROXY, TCP6) if block.len() >= 2 * 16 + PORTS => {
            let source: Option<[u8; 16]> = block.first_chunk().copied();
            Ok(source.map(|source| IpAddr::from(Ipv6Addr::from(source)).to_canonical()))
        }
        // Datagrams and local sockets do not come over TCP.
        _ => Err(HeaderError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is made of `bytes`, and how many of them were read.
    fn of(bytes: &[u8]) -> (Result<Option<IpAddr>, HeaderError>, usize) {
        let mut rest = bytes;
        // A slice is always ready.
        let read = futures_util::FutureExt::now_or_never(read(&mut rest)).expect("ready");
        (read, bytes.len() - rest.len())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn block(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, content].concat()
    }

    const TLS: &[u8] = b"\x16\x03\x01 and so on";

    #[test]
    fn headers_of_both_versions_name_the_client_and_leave_the_rest_unread() {
        let v4 = [&[203, 0, 113, 7, 10, 0, 0, 1][..], &[0x12, 0x67, 0x01, 0xbb]].concat();
        let v6 = [&address_bytes("2001:db8::7")[..], &address_bytes("2001:db8::1"), &[0x12, 0x67, 0x01, 0xbb]].concat();
        let mapped = [&address_bytes("::ffff:203.0.113.7")[..], &[0; 16], &[0; 4]].concat();
        // A TLV of a unique id, as load balancers add.
        let more = [&v4[..], &[0x05, 0, 3, b'a', b'b', b'c']].concat();
        for (header, client) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(), Some("203.0.113.7")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 0 65535\r\n".to_vec(), Some("203.0.113.7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN what ever 1 2 3\r\n".to_vec(), None),
            (block(0x21, 0x11, &v4), Some("203.0.113.7")),
            (block(0x21, 0x11, &more), Some("203.0.113.7")),
            (block(0x21, 0x21, &v6), Some("2001:db8::7")),
            (block(0x21, 0x21, &mapped), Some("203.0.113.7")),
            (block(0x20, 0x00, b""), None),
            (block(0x20, 0x11, &v4), None),
            (block(0x21, 0x00, b""), None),
        ] {
            let (read, used) = of(&[&header, TLS].concat());
            assert_eq!(read.expect("a header"), client.map(address), "{header:?}");
            assert_eq!(used, header.len(), "{header:?}");
            // Any part of it is not enough.
            for end in 0..header.len() {
                assert!(matches!(of(&header[..end]).0, Err(HeaderError::Io(_))), "{header:?} to {end}");
            }
        }
    }

    fn address_bytes(text: &str) -> [u8; 16] {
        text.parse::<Ipv6Addr>().expect("an address").octets()
    }

    #[test]
    fn what_is_not_a_header_is_refused_within_its_longest_length() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
        let v4 = [0; 12];
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xxxxxxxxxx",
            b"proxy TCP4 203.0.113.7 10.0.0.1 4711 443\r\n",
            b"PROXY  TCP4 203.0.113.7 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 \r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 1\r\n",
            b"PROXY TCP4 203.0.113.007 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7 somewhere 4711 443\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
            b"PROXY TCP6 203.0.113.7 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 +471 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 04711 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 \xff 443\r\n",
            b"PROXY UDP4 203.0.113.7 10.0.0.1 4711 443\r\n",
            b"PROXY UNKNOWNX\r\n",
            long.as_bytes(),
            &block(0x11, 0x11, &v4),
            &block(0x22, 0x11, &v4),
            &block(0x21, 0x12, &v4),
            &block(0x21, 0x31, &[0; 216]),
            &block(0x21, 0x11, &v4[..11]),
            &block(0x21, 0x21, &[0; 35]),
            &block(0x21, 0x11, &[0; LONGEST_BLOCK + 1]),
        ] {
            let (read, used) = of(bytes);
            assert!(matches!(read, Err(HeaderError::Malformed)), "{bytes:?}: {read:?}");
            assert!(used <= LONGEST_BLOCK, "{used}");
        }
    }

    proptest! {
        /// Nothing panics or reads past the caps; what is taken is a header and names what it names.
        #[test]
        fn any_bytes_are_a_header_or_refused(
            begin in prop::sample::select(vec![&b""[..], &SIGNATURE, b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11"]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [begin, &rest].concat();
            let (read, used) = of(&bytes);
            prop_assert!(used <= SIGNATURE.len() + 4 + LONGEST_BLOCK);
            if read.is_ok() {
                prop_assert!(bytes.starts_with(&SIGNATURE) || bytes[..used].ends_with(b"\r\n"));
                prop_assert!(bytes.starts_with(&SIGNATURE) || used <= LONGEST_LINE);
            }
        }

        #[test]
        fn any_line_of_a_proxy_is_read_as_it_was_written(
            source: Ipv4Addr, destination: Ipv4Addr, ports: [u16; 2], six: bool, v6: [Ipv6Addr; 2],
        ) {
            let [from, to] = ports;
            let (line, client) = if six {
                (format!("PROXY TCP6 {} {} {from} {to}\r\n", v6[0], v6[1]), IpAddr::V6(v6[0]))
            } else {
                (format!("PROXY TCP4 {source} {destination} {from} {to}\r\n"), IpAddr::V4(source))
            };
            let (read, used) = of(line.as_bytes());
            prop_assert_eq!(read.expect("a header"), Some(client.to_canonical()));
            prop_assert_eq!(used, line.len());
        }
    }
}
