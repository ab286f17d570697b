//! Metrics of the proxy's build and its TLS configuration.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, info::Info},
};

use super::transport::describe;

/// The families `proxy_build_info` and `rustls_info`.
#[derive(Debug)]
pub(super) struct Build {
    rustls: Info<Vec<(&'static str, String)>>,
    build: Info<Vec<(&'static str, String)>>,
}

impl Build {
    pub(super) fn new(rustls: &[(&'static str, String)]) -> Self {
        let build = vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("profile", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
            ("vendor", "weft".to_owned()),
        ];
        Self { rustls: Info::new(rustls.to_vec()), build: Info::new(build) }
    }
}

impl Collector for Build {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.build.encode(describe(
            &mut encoder,
            "proxy_build",
            "The build of the proxy.",
            MetricType::Info,
        )?)?;
        self.rustls.encode(describe(&mut encoder, "rustls", "The TLS configuration.", MetricType::Info)?)
    }
}
