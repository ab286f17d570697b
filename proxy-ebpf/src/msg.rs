//! Moves a message into the other application's receive queue, if that is safe.
//!
//! sk_msg, kernel 4.17 (bpf_probe_read_kernel in it 5.8). Runs for each message that a member sends, under its
//! socket's lock. It only ever says "pass", with or without a redirection: where anything is in doubt the message
//! takes the way through TCP and the proxy, behind all that was sent before.
//!
//! What is put into a queue is read before what comes by TCP. So nothing may be put there while an earlier byte
//! is on its way by TCP or in the proxy (`SpliceRedirect::is_clear`), and everything may go by TCP at any time. Nor may it
//! be put there while the target is in a read that TCP has given a part (MSG_WAITALL, SO_RCVLOWAT): such a read
//! waits for TCP's own queue and looks nowhere else, for ever ([`settles`]).

use core::arch::asm;

use aya_ebpf::{helpers::bpf_probe_read_kernel, macros::sk_msg, programs::SkMsgContext};
use weft_common::{Outcome, SpliceCounters, SpliceRedirect};

use crate::{
    maps::count,
    splice::{REDIRECT_BY_COOKIE, SPLICE_COUNTERS, SPLICED_SOCKETS, config, cookie_of},
};

const PASS: u32 = 1;
const BPF_F_INGRESS: u64 = 1;
/// As many of those that wait at a socket are looked at.
const WAITERS: u32 = 4;

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
        let Some(entry) = REDIRECT_BY_COOKIE.get_ptr(cookie) else { return };
        let route = core::ptr::read_volatile(entry);
        // Twice: an entry that is removed may become another's while it is read.
        if route.sender != cookie || core::ptr::read_volatile(&raw const (*entry).sender) != cookie {
            return;
        }
        let Some(flow) = SPLICE_COUNTERS.get_ptr_mut(route.flow) else { return };
        let size = u64::from(core::ptr::read_volatile(&raw const (*ctx.msg).size));
        note_own_reads(&route);
        match verdict(&route, flow) {
            Ok(()) => {
                if SPLICED_SOCKETS.redirect_msg(ctx, route.target, BPF_F_INGRESS) == i64::from(PASS) {
                    // The sender's lock is held: nobody else writes it.
                    (*flow).moved += size;
                    count(Outcome::SpliceMoved);
                } else {
                    passes(&route, flow);
                    count(Outcome::SpliceGone);
                }
            }
            Err(reason) => {
                passes(&route, flow);
                count(reason);
            }
        }
    }
}

/// The message goes by TCP: how the target will read it is not known.
#[inline(always)]
unsafe fn passes(route: &SpliceRedirect, flow: *mut SpliceCounters) {
    // SAFETY: a live map value; the sender's lock is held.
    unsafe {
        if route.may_sleep != 0 {
            core::ptr::write_volatile(&raw mut (*flow).settled, 0);
        }
        (*flow).passed += 1;
    }
}

/// Whether nothing of the sender is on its way to the target, and the target's queue is short.
#[inline(always)]
unsafe fn verdict(route: &SpliceRedirect, flow: *mut SpliceCounters) -> Result<(), Outcome> {
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
        let settled = settles(route, flow, fed)?;
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
        if !settled {
            return Err(Outcome::SpliceReading);
        }
        core::ptr::write_volatile(&raw mut (*flow).settled, SpliceCounters::settled_at(fed));
        Ok(())
    }
}

/// Whether no thread of the target can be in a read that waits for more by TCP, if `fed` bytes by TCP are all it
/// got and it has read them. Once that is so it stays so until it gets more: who begins to read then waits for
/// either.
///
/// Such a thread holds the socket's lock or sleeps in its queue, where it enters itself before it lets go of the
/// lock, and leaves with the lock in hand. Neither can be read together with the other; but to be missed by four
/// looks in turn it would have to wake up and fall asleep again between each two.
#[inline(always)]
unsafe fn settles(route: &SpliceRedirect, flow: *mut SpliceCounters, fed: u32) -> Result<bool, Outcome> {
    // SAFETY: as in `verdict`.
    unsafe {
        for _ in 0..2 {
            if route.may_sleep == 0 || read_first(&raw mut (*flow).settled) == SpliceCounters::settled_at(fed)
            {
                return Ok(true);
            }
            if sleeps(route.target_sock)? || read::<u32>(route.target_sock, config().owned)? != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The sender sends. If it has read all that it got by TCP, and no other thread of it sleeps, its reads wait for
/// either from now on. It holds its lock, so this is certain.
#[inline(always)]
unsafe fn note_own_reads(route: &SpliceRedirect) {
    // SAFETY: as in `verdict`.
    unsafe {
        let Some(back) = SPLICE_COUNTERS.get_ptr_mut(route.back_flow) else { return };
        if core::ptr::read_volatile(&raw const (*back).settled) != 0
            || core::ptr::read_volatile(&raw const (*back).sender) != route.target
        {
            return;
        }
        let _ = own_position(route).map(|position| {
            if let Some(position) = position {
                core::ptr::write_volatile(&raw mut (*back).settled, SpliceCounters::settled_at(position));
            }
        });
    }
}

#[inline(always)]
unsafe fn own_position(route: &SpliceRedirect) -> Result<Option<u32>, Outcome> {
    let offsets = config();
    // SAFETY: as in `verdict`.
    unsafe {
        let taken: u32 = read(route.sender_sock, offsets.copied_seq)?;
        let fed: u32 = read(route.back_feeder_sock, offsets.write_seq)?;
        let feeder: u64 = read(route.back_feeder_sock, offsets.cookie)?;
        let settled = fed == taken && feeder == route.back_feeder && !sleeps(route.sender_sock)?;
        Ok(settled.then_some(fed))
    }
}

/// Whether a task may sleep in a system call at the socket. Not one that waits with epoll: it is not in the queue
/// itself. More entries than are looked at: perhaps.
#[inline(always)]
unsafe fn sleeps(sock: u64) -> Result<bool, Outcome> {
    let offsets = config();
    // SAFETY: as in `verdict`; what is read of an entry that is just removed is an address that faults, or the
    // entry as it was.
    unsafe {
        let waiting: u64 = read(sock, offsets.waiting)?;
        if waiting == 0 {
            return Err(Outcome::SpliceGone);
        }
        let head = waiting + u64::from(offsets.waiters);
        let mut link: u64 = read(head, 0)?;
        for _ in 0..WAITERS {
            if link == head {
                return Ok(false);
            }
            let task: u64 = read(link - u64::from(offsets.waiter_link), offsets.waiter_task)?;
            if task != 0 {
                return Ok(true);
            }
            link = read(link, 0)?;
        }
        Ok(link != head)
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
