//! Finds the multipath TCP socket that a connecting TCP socket belongs to.
//!
//! The connect hooks run for the subflow, a TCP socket within the application's one; getpeername and getsockname run
//! for the application's. So what these answer is kept with both. Kernel 5.19 (bpf_skc_to_mptcp_sock), with
//! CONFIG_MPTCP; elsewhere nothing is found.

use core::ffi::c_void;

use aya_ebpf::{bindings::bpf_sock, helpers::bpf_skc_to_mptcp_sock};

/// Set by the loader if the kernel has the helper: a program that calls an unknown one is not loaded.
#[unsafe(no_mangle)]
static MPTCP: u8 = 0;

/// The multipath socket that `socket` is a subflow of; null: it is none.
///
/// # Safety
/// `socket` must be the context's.
#[inline(always)]
pub unsafe fn socket_of(socket: *mut bpf_sock) -> *mut c_void {
    // SAFETY: a constant that only the loader changes; the caller's socket.
    unsafe {
        if core::ptr::read_volatile(&raw const MPTCP) == 0 {
            return core::ptr::null_mut();
        }
        bpf_skc_to_mptcp_sock(socket.cast()).cast()
    }
}
