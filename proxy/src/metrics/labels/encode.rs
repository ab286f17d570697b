//! Writes labels into the output of a scrape, in the order of Linkerd's proxy.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    net::SocketAddr,
};

use prometheus_client::encoding::{
    EncodeLabel, EncodeLabelKey, EncodeLabelSet, LabelKeyEncoder, LabelSetEncoder, LabelValueEncoder,
};

use super::{
    DecisionLabels, ErrorLabels, PathLabels, ServerLabels, Tls, TransportLabels, With, WorkloadLabels,
    names::is_label_name,
};
use crate::net::Direction;

impl EncodeLabelSet for TransportLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(out, "direction", self.direction.as_str())?;
        label(out, "peer", self.peer.as_str())?;
        self.workload.write(out)?;
        write_target(out, self.target)?;
        self.tls.write(out, self.direction)?;
        write_server(out, self.server.as_deref())?;
        write_destination(out, self.destination.as_deref())
    }
}

impl EncodeLabelSet for DecisionLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(out, "direction", Direction::Inbound.as_str())?;
        self.workload.write(out)?;
        write_target(out, self.target)?;
        self.tls.write(out, Direction::Inbound)?;
        write_server(out, self.server.as_deref())?;
        if let Some(authz) = &self.authz {
            label(out, "authz_group", &authz.group)?;
            label(out, "authz_kind", &authz.kind)?;
            label(out, "authz_name", &authz.name)?;
        }
        Ok(())
    }
}

impl EncodeLabelSet for PathLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(out, "direction", self.direction.as_str())?;
        self.workload.write(out)?;
        write_destination(out, self.destination.as_deref())
    }
}

impl EncodeLabelSet for ErrorLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.workload.write(out)?;
        label(out, "error", self.error)
    }
}

impl<L: EncodeLabelSet> EncodeLabelSet for With<'_, L> {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.encode(out)?;
        label(out, self.1.0, self.1.1)
    }
}

impl EncodeLabelSet for WorkloadLabels {
    fn encode(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.write(out)
    }
}

impl WorkloadLabels {
    pub(in crate::metrics) fn write(&self, out: &mut LabelSetEncoder<'_>) -> fmt::Result {
        label(out, "namespace", &self.namespace)?;
        label(out, "pod", &self.pod)?;
        self.extra.iter().try_for_each(|(name, value)| label(out, name, value))
    }
}

impl Tls {
    pub(in crate::metrics) fn write(
        &self,
        out: &mut LabelSetEncoder<'_>,
        direction: Direction,
    ) -> fmt::Result {
        let id = match direction {
            Direction::Inbound => "client_id",
            Direction::Outbound => "server_id",
        };
        match self {
            Self::Established(identity) => {
                label(out, "tls", "true")?;
                label(out, id, identity.as_str())
            }
            Self::Anonymous => {
                label(out, "tls", "true")?;
                label(out, id, "")
            }
            Self::Local(identity) => {
                label(out, "tls", "local")?;
                label(out, id, identity.as_str())
            }
            Self::NoIdentity(why) => {
                label(out, "tls", "no_identity")?;
                label(out, "no_tls_reason", why)
            }
            Self::Opaque { sni } => {
                label(out, "tls", "opaque")?;
                sni.as_deref().map_or(Ok(()), |sni| label(out, "sni", sni))
            }
        }
    }
}

/// Writes one label. The encoder escapes its value.
pub(in crate::metrics) fn label(out: &mut LabelSetEncoder<'_>, name: &str, value: &str) -> fmt::Result {
    (name, value).encode(out.encode_label())
}

pub(in crate::metrics) fn write_target(out: &mut LabelSetEncoder<'_>, target: SocketAddr) -> fmt::Result {
    display(out, "target_addr", &target)?;
    display(out, "target_ip", &target.ip())?;
    display(out, "target_port", &target.port())
}

pub(in crate::metrics) fn write_server(
    out: &mut LabelSetEncoder<'_>,
    server: Option<&ServerLabels>,
) -> fmt::Result {
    let Some(server) = server else { return Ok(()) };
    label(out, "srv_group", &server.group)?;
    label(out, "srv_kind", &server.kind)?;
    label(out, "srv_name", &server.name)?;
    display(out, "srv_port", &server.port)
}

pub(in crate::metrics) fn write_destination(
    out: &mut LabelSetEncoder<'_>,
    destination: Option<&BTreeMap<String, String>>,
) -> fmt::Result {
    let Some(destination) = destination else { return Ok(()) };
    destination
        .iter()
        .filter(|(name, _)| name.starts_with("dst_") && is_label_name(name))
        .try_for_each(|(name, value)| label(out, name, value))
}

/// Writes a value into the output without an intermediate string.
pub(in crate::metrics) fn display(
    out: &mut LabelSetEncoder<'_>,
    name: &str,
    value: &dyn fmt::Display,
) -> fmt::Result {
    let mut encoder = out.encode_label();
    let mut key: LabelKeyEncoder<'_> = encoder.encode_label_key()?;
    EncodeLabelKey::encode(&name, &mut key)?;
    let mut writer: LabelValueEncoder<'_> = key.encode_label_value()?;
    write!(writer, "{value}")?;
    writer.finish()
}
