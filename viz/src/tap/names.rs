//! The names of gRPC's status codes and HTTP/2's reset codes.

use weft_api::grpc::STATUS_NAMES;

/// RFC 9113, section 7.
const RESET: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

pub(super) fn grpc(code: u32) -> String {
    name(&STATUS_NAMES, code)
}

pub(super) fn reset(code: u32) -> String {
    name(&RESET, code)
}

/// A code without a name is written as a number.
fn name(names: &[&str], code: u32) -> String {
    let name = usize::try_from(code).ok().and_then(|code| names.get(code));
    name.map_or_else(|| code.to_string(), |name| (*name).to_owned())
}
