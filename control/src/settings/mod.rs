//! The settings that annotations and policies make.

mod annotations;
mod duration;
mod identity;
mod policy;
mod ports;
mod protocol;

pub(crate) use self::ports::is_port_name;
pub use self::{
    annotations::{AccessLog, Annotations, BadAnnotation, FailMode, NETNS},
    duration::{BadDuration, parse_duration},
    identity::{IdentityMatch, parse_network},
    policy::Policy,
    ports::{PortNames, PortRange, PortSet},
    protocol::Protocol,
};
