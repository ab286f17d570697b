//! The sockets that this process has, as sock_diag(7) names them.

use std::{collections::HashSet, fs};

/// The inodes of its sockets. Incomplete if /proc cannot be read.
pub(super) fn inodes() -> HashSet<u32> {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else { return HashSet::new() };
    descriptors
        .flatten()
        .filter_map(|descriptor| inode(fs::read_link(descriptor.path()).ok()?.to_str()?))
        .collect()
}

/// The inode of `socket:[4711]`.
fn inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn an_open_socket_is_named_until_it_is_closed() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&socket));
        let inode = u32::try_from(fs::metadata(path).unwrap().ino()).unwrap();
        assert!(inodes().contains(&inode));
        drop(socket);
        assert!(!inodes().contains(&inode));
    }

    #[test]
    fn other_descriptors_have_no_socket() {
        assert_eq!(inode("socket:[4711]"), Some(4711));
        for other in ["/dev/null", "pipe:[4711]", "socket:[]", "socket:[99999999999]"] {
            assert_eq!(inode(other), None, "{other}");
        }
    }
}
