//! May a message be put straight into the other application's receive queue?
//!
//! sk_msg, kernel 4.17 (bpf_probe_read_kernel in it 5.8). Runs for each message that a member sends, under its
//! socket's lock. It only ever says "pass", with or without a redirection: where anything is in doubt the message
//! takes the way through TCP and the proxy, behind all that was sent before.
//!
//! What is put into a queue is read before what comes by TCP. So nothing may be put there while an earlier byte
//! is on its way by TCP or in the proxy (`Route::is_clear`), and everything may go by TCP at any time.

use core::arch::asm;

use aya_ebpf::{helpers::bpf_probe_read_kernel, macros::sk_msg, programs::SkMsgContext};
use weft_common::{Flow, Outcome, Route};

use crate::{
    maps::count,
    splice::{SPLICE_FLOWS, MEMBERS, ROUTES, config, cookie_of},
};

const PASS: u32 = 1;
const BPF_F_INGRESS: u64 = 1;

#[sk_msg]
pub fn weft_msg(ctx: SkMsgContext) -> u32 {
    // SAFETY: the context is the kernel's.
    unsafe { splice(&ctx) };
    PASS
}

#[inline(always)]
unsafe fn splice(ctx: &SkMsgContext) {
    // SAFETY: as in the program; map values are read field by field and checked.
    unsafe {
        let socket = core::ptr::read_volatile(&raw const (*ctx.msg).__bindgen_anon_3.sk);
        if socket.is_null() {
            return;
        }
        let own = cookie_of(socket.cast(), false);
        if own.is_null() {
            return;
        }
        let cookie = *own;
        let Some(entry) = ROUTES.get_ptr(cookie) else { return };
        let route = core::ptr::read_volatile(entry);
        // Twice: an entry that is removed may become another's while it is read.
        if route.sender != cookie || core::ptr::read_volatile(&raw const (*entry).sender) != cookie {
            return;
        }
        let Some(flow) = SPLICE_FLOWS.get_ptr_mut(route.flow) else { return };
        let size = u64::from(core::ptr::read_volatile(&raw const (*ctx.msg).size));
        match verdict(&route, flow) {
            Ok(()) => {
                if MEMBERS.redirect_msg(ctx, route.target, BPF_F_INGRESS) == i64::from(PASS) {
                    // The sender's lock is held: nobody else writes it.
                    (*flow).moved += size;
                    count(Outcome::SpliceMoved);
                } else {
                    (*flow).passed += 1;
                    count(Outcome::SpliceGone);
                }
            }
            Err(reason) => {
                (*flow).passed += 1;
                count(reason);
            }
        }
    }
}

/// Whether nothing of the sender is on its way to the target, and the target's queue is short.
#[inline(always)]
unsafe fn verdict(route: &Route, flow: *mut Flow) -> Result<(), Outcome> {
    let offsets = config();
    // SAFETY: a live map value; reads of kernel memory that fault are errors, and what is read of a socket that
    // is gone shows by its cookie, read last.
    unsafe {
        let forwarded = read_first(&raw mut (*flow).forwarded);
        if core::ptr::read_volatile(&raw const (*flow).sender) != route.sender {
            return Err(Outcome::SpliceGone);
        }
        let written: u32 = read(route.sender_sock, offsets.write_seq)?;
        let fed: u32 = read(route.feeder_sock, offsets.write_seq)?;
        let taken: u32 = read(route.target_sock, offsets.copied_seq)?;
        let queued: u32 = read(route.target_sock, offsets.rmem_alloc)?;
        let feeder: u64 = read(route.feeder_sock, offsets.cookie)?;
        let target: u64 = read(route.target_sock, offsets.cookie)?;
        if feeder != route.feeder || target != route.target {
            return Err(Outcome::SpliceGone);
        }
        if !route.is_clear(forwarded, written, fed, taken) {
            return Err(Outcome::SpliceOrder);
        }
        if queued >= offsets.limit {
            return Err(Outcome::SpliceQueued);
        }
        Ok(())
    }
}

#[inline(always)]
unsafe fn read<T>(sock: u64, offset: u32) -> Result<T, Outcome> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((sock + u64::from(offset)) as *const T) }.map_err(|_| Outcome::SpliceGone)
}

/// Reads a value of which the proxy says that it is never too high, before anything that is compared with it. An
/// addition of nothing, because the value of an atomic operation is ordered against all others on every
/// processor, and a plain read is not.
#[inline(always)]
unsafe fn read_first(value: *mut u64) -> u64 {
    let mut read = 0u64;
    // SAFETY: a live map value, aligned.
    unsafe {
        asm!("{read} = atomic_fetch_add((u64 *)({value} + 0), {read})", value = in(reg) value, read = inout(reg) read);
    }
    read
}
