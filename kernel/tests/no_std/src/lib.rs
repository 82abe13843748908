//! Steps a supervisor without std. It is linked, not run.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};

use lictor_kernel::supervisor::{Action, Config};
use lictor_kernel::{ChildId, ChildSpec, Instant, Supervisor};

/// Hands out a fixed piece of memory from front to back and takes nothing back.
struct Bump;

const SIZE: usize = 1 << 16;
static mut MEMORY: [u8; SIZE] = [0; SIZE];
static NEXT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: each piece is given out once: `NEXT` only grows, and stays within `MEMORY`.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.size() + layout.align();
        let begin = NEXT.fetch_add(room, Ordering::Relaxed);
        if begin + room > SIZE {
            return core::ptr::null_mut();
        }
        let start = (&raw mut MEMORY).cast::<u8>();
        let at = start as usize + begin;
        start.wrapping_add(begin + at.next_multiple_of(layout.align()) - at)
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static BUMP: Bump = Bump;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// How many children a supervisor of one child wants to start.
#[unsafe(no_mangle)]
pub extern "C" fn lictor_starts() -> usize {
    let specs = [(ChildId(0), ChildSpec::worker())];
    let Ok(mut supervisor) = Supervisor::new(Config::default(), &specs) else { return 0 };
    let mut actions = Vec::new();
    supervisor.start(Instant::ZERO, &mut actions);
    actions.iter().filter(|action| matches!(action, Action::Start { .. })).count()
}
