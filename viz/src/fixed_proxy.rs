//! Node proxies that options name.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

/// A proxy that an option names, as in `NODE=HOST:PORT` or `NODE=/PATH/OF/A/FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedProxy {
    pub node: String,
    pub address: ProxyAddress,
}

/// Where a proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyAddress {
    Socket(SocketAddr),
    /// A file that the proxy writes its address to.
    File(PathBuf),
}

impl ProxyAddress {
    /// `None`: the file is missing, or holds no address.
    pub(crate) fn resolve(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::File(path) => std::fs::read_to_string(path).ok()?.trim().parse().ok(),
        }
    }
}

impl FromStr for FixedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not NODE=HOST:PORT or NODE=/PATH/OF/A/FILE");
        let (node, address) = text.split_once('=').filter(|(node, _)| !node.is_empty()).ok_or_else(wrong)?;
        let address = match address.starts_with('/') {
            true => ProxyAddress::File(address.into()),
            false => ProxyAddress::Socket(address.parse().map_err(|_| wrong())?),
        };
        Ok(Self { node: node.to_owned(), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_by_address_or_file() {
        let parse = |text: &str| text.parse::<FixedProxy>();
        assert_eq!(
            parse("a=127.0.0.1:4190").unwrap().address,
            ProxyAddress::Socket(([127, 0, 0, 1], 4190).into())
        );
        assert_eq!(parse("a=/run/x").unwrap().address, ProxyAddress::File("/run/x".into()));
        for wrong in ["4190", "=127.0.0.1:4190", "a=localhost"] {
            assert!(parse(wrong).unwrap_err().contains("NODE=HOST:PORT"), "{wrong}");
        }
    }
}
