//! Which NUMA node new memory comes from, set for one thread.
//!
//! Everything a thread touches first, or has the kernel allocate for it (stacks, rings, socket buffers),
//! follows the policy; threads that it starts inherit it. What is in place already does not move.

use std::io;

/// Where the memory of a thread comes from; numbers of NUMA nodes as in /sys/devices/system/node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryPolicy {
    /// As the kernel likes: from the node of the CPU that touches it first.
    Default,
    /// From this node while it has some, then from others.
    Prefer(u32),
    /// From this node only; when it has none, the out-of-memory killer decides.
    Bind(u32),
}

/// Highest number of a NUMA node that can be asked for; the kernel is built for 1,024 at most.
pub const NUMA_NODE_MAX: u32 = 1023;

const WORD_BITS: usize = libc::c_ulong::BITS as usize;
const MASK_WORDS: usize = (NUMA_NODE_MAX as usize + 1) / WORD_BITS;
/// Bits of the mask; one more than there are, since the kernel looks at one bit less than it is told of.
const MASK_BITS: libc::c_ulong = NUMA_NODE_MAX as libc::c_ulong + 2;

/// Sets the policy of the calling thread, and of the threads that it starts from now on.
///
/// Errors: the node does not exist or has no memory, or the system call is forbidden (containers without
/// CAP_SYS_NICE often forbid it).
pub fn set_memory_policy(policy: MemoryPolicy) -> io::Result<()> {
    let mut mask = [0 as libc::c_ulong; MASK_WORDS];
    let (mode, node) = match policy {
        MemoryPolicy::Default => (libc::MPOL_DEFAULT, None),
        MemoryPolicy::Prefer(node) => (libc::MPOL_PREFERRED, Some(node)),
        MemoryPolicy::Bind(node) => (libc::MPOL_BIND, Some(node)),
    };
    if let Some(node) = node {
        if node > NUMA_NODE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no NUMA node {node}")));
        }
        mask[node as usize / WORD_BITS] |= 1 << (node as usize % WORD_BITS);
    }
    // SAFETY: the mask is live and holds the bits that the kernel is told of; set_mempolicy(2) reads it only.
    let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask.as_ptr(), MASK_BITS) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The policy of the calling thread. None: one that [`MemoryPolicy`] has no word for.
///
/// Errors: the system call is forbidden.
pub fn memory_policy() -> io::Result<Option<MemoryPolicy>> {
    let mut mask = [0 as libc::c_ulong; MASK_WORDS];
    let mut mode: libc::c_int = 0;
    let no_address = std::ptr::null::<libc::c_void>();
    // SAFETY: mode and mask are live and as large as the kernel is told; get_mempolicy(2) writes within them.
    let done = unsafe {
        let (mode, mask) = (&raw mut mode, mask.as_mut_ptr());
        libc::syscall(libc::SYS_get_mempolicy, mode, mask, MASK_BITS, no_address, 0 as libc::c_ulong)
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let bits = (0..=NUMA_NODE_MAX).filter(|node| {
        let (word, bit) = (*node as usize / WORD_BITS, *node as usize % WORD_BITS);
        mask[word] >> bit & 1 == 1
    });
    let nodes: Vec<u32> = bits.collect();
    Ok(match (mode, nodes.as_slice()) {
        (libc::MPOL_DEFAULT, _) => Some(MemoryPolicy::Default),
        (libc::MPOL_PREFERRED, [node]) => Some(MemoryPolicy::Prefer(*node)),
        (libc::MPOL_BIND, [node]) => Some(MemoryPolicy::Bind(*node)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a thread of its own, so that no other test gets the policy.
    fn apart<T: Send>(body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(body).join().expect("the thread ends well"))
    }

    #[test]
    fn a_policy_is_kept_and_inherited() {
        for policy in [MemoryPolicy::Prefer(0), MemoryPolicy::Bind(0), MemoryPolicy::Default] {
            let (set, inherited) = apart(|| (set_memory_policy(policy), apart(memory_policy)));
            // Containers may forbid it; the reason is then all there is to check.
            match set {
                Ok(()) => assert_eq!(inherited.expect("it can be read"), Some(policy)),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
            }
        }
    }

    #[test]
    fn a_node_that_is_not_there_is_refused() {
        let kinds = [io::ErrorKind::InvalidInput, io::ErrorKind::PermissionDenied];
        for node in [NUMA_NODE_MAX, NUMA_NODE_MAX + 1, u32::MAX] {
            let error = apart(|| set_memory_policy(MemoryPolicy::Bind(node))).expect_err("no such node");
            assert!(kinds.contains(&error.kind()), "{error}");
        }
    }
}
