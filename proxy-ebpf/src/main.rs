//! The eBPF programs that bring pods' connections to the proxy.
//!
//! | program | attach point | since | what it does |
//! |---|---|---|---|
//! | `weft_connect4`, `weft_connect6` | cgroup/connect4, connect6 | 6.1 | points an application's socket at the proxy |
//! | `weft_getpeername4`, `6`, `weft_getsockname4`, `6` | cgroup/get*name* | 5.8 | keeps that invisible |
//! | `weft_sockops` | cgroup/sock_ops | 5.15 | hands the original destination to the accepted socket; learns who listens |
//! | `weft_lookup` | netns/sk_lookup | 5.9 | hands a pod's incoming connections to the proxy |
//! | `weft_msg` | sk_msg of the map of members | 5.8 | splices connections whose port opted in |
//!
//! Each file states what happens when its program fails. None of them can lose a connection of a workload
//! that it does not know: those pass.
#![no_std]
#![no_main]
// Atomic addition on map values (quota.rs).
#![feature(asm_experimental_arch)]

/// Reads one field of the kernel's context.
///
/// LLVM merges neighbouring reads of the context into forms that the verifier refuses ("dereference of modified ctx
/// ptr", seen with 6.18): each field is read for itself.
macro_rules! field {
    ($place:expr) => {
        core::ptr::read_volatile(&raw const $place)
    };
}

mod connect;
mod direct;
mod direct_quota;
mod lookup;
mod maps;
mod mptcp;
mod msg;
mod names;
mod quota;
mod redirect;
mod sockops;
mod splice;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Never reached: the verifier accepts no program that could panic.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
