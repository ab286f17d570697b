//! The settings that annotations of pods, namespaces and services make.

mod annotations;
mod duration;
mod policy;
mod ports;
mod protocol;

pub(crate) use self::ports::is_port_name;
pub use self::{
    annotations::{AccessLog, Annotations, BadAnnotation, FailMode},
    duration::{BadDuration, parse_duration},
    policy::Policy,
    ports::{PortNames, PortRange, PortSet},
    protocol::Protocol,
};
