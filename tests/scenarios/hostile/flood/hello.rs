//! Builds ClientHello messages that no TLS library would send.

/// A ClientHello with these extensions, in as many records as it needs.
pub(super) fn client_hello(extensions: &[u8]) -> Vec<u8> {
    let body =
        [&[3, 3][..], &[7; 32], &[0], &with_length(&[0x13, 1]), &[1, 0], &with_length(extensions)].concat();
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]], &body[..]].concat();
    message.chunks(16_000).flat_map(|part| [&[22, 3, 1], &with_length(part)[..]].concat()).collect()
}

/// The extension `server_name`.
pub(super) fn server_name(name: &[u8]) -> Vec<u8> {
    let list = with_length(&[&[0], &with_length(name)[..]].concat());
    [&[0, 0], &with_length(&list)[..]].concat()
}

/// Bytes behind their length in two bytes.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}
