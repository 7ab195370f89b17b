//! Where the HTTP services listen, or that they do not.

use std::net::SocketAddr;
use std::str::FromStr;
use tokio::net::TcpListener;

/// Distance of the default port from that of the process' main service: 7400 has its metrics at 9400.
const PORT_OFFSET: u16 = 2000;

/// As asked for on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// No HTTP services.
    Off,
    /// At this address; port 0 takes a free one.
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        if text == "off" {
            return Ok(Listen::Off);
        }
        text.parse().map(Listen::At).map_err(|_| "must be IP:PORT or off".to_owned())
    }
}

/// Why the HTTP services cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (--metrics): {source}; give another address, or off")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

impl Listen {
    /// Opens the listener. None: off. Without an `asked` address, the port is 2,000 above the `main`
    /// service's, or a free one where that is taken: a default must not keep a process from starting.
    pub(crate) async fn open(
        asked: Option<Listen>,
        main: SocketAddr,
    ) -> Result<Option<TcpListener>, ListenError> {
        let address = match asked {
            Some(Listen::Off) => return Ok(None),
            Some(Listen::At(address)) => address,
            None => default(main),
        };
        let opened = match TcpListener::bind(address).await {
            Err(source) if asked.is_none() => {
                tracing::warn!(%address, error = %source, "metrics take a free port (--metrics)");
                TcpListener::bind(SocketAddr::new(address.ip(), 0)).await
            }
            opened => opened,
        };
        opened.map(Some).map_err(|source| ListenError { address, source })
    }
}

fn default(main: SocketAddr) -> SocketAddr {
    SocketAddr::new(main.ip(), main.port().checked_add(PORT_OFFSET).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_off_are_read() {
        assert_eq!("off".parse(), Ok(Listen::Off));
        assert_eq!("[::1]:9".parse(), Ok(Listen::At("[::1]:9".parse().expect("a literal"))));
        for text in ["", "9100", "localhost:9100", "on"] {
            assert!(text.parse::<Listen>().is_err_and(|why| why.contains("off")), "{text}");
        }
    }

    #[test]
    fn the_default_port_is_derived() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("a literal");
        assert_eq!(default(address("127.0.0.1:7400")), address("127.0.0.1:9400"));
        assert_eq!(default(address("127.0.0.1:63535")), address("127.0.0.1:65535"));
        assert_eq!(default(address("127.0.0.1:63536")).port(), 0);
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_only_when_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = taken.local_addr().expect("bound");
        let error = Listen::open(Some(Listen::At(address)), address).await.expect_err("taken");
        assert!(error.to_string().contains("--metrics"), "{error}");
        let main = SocketAddr::new(address.ip(), address.port() - PORT_OFFSET);
        let opened = Listen::open(None, main).await.expect("another port").expect("not off");
        assert_ne!(opened.local_addr().expect("bound"), address);
        assert!(Listen::open(Some(Listen::Off), main).await.expect("nothing to do").is_none());
    }
}
