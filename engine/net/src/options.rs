//! Settings of a back end, and why one may not start.

use std::io;

/// Settings of a back end. The defaults suit a worker with thousands of legs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Receive buffers of 64 KiB each, 2 to 32,768, rounded up to a power of two. Memory is taken when a
    /// buffer is first used. Default 256.
    pub receive_buffers: u32,
    /// Send runs of equal-sized datagrams as one message (UDP_SEGMENT). Default on.
    pub gso: bool,
    /// Let the network card read large messages of a few pieces where they lie instead of copying them
    /// (IORING_OP_SENDMSG_ZC, Linux 6.1). Costs more than it saves on loopback and for small messages, and a
    /// turn waits until the card is done; measure before turning it on. Only the io_uring back end does it,
    /// where the kernel can. Default off.
    pub zero_copy: bool,
    /// Receive runs of equal-sized datagrams as one message (UDP_GRO). Default on.
    pub gro: bool,
    /// Datagrams that may be queued between two turns; more are dropped and counted. Default 262,144.
    pub queue_datagrams_max: u32,
    /// Messages handed out per turn, at least 1; each is one datagram or a run of them. At most half of
    /// the receive buffers are used, so that the kernel always has some. Default 128.
    pub turn_messages_max: u32,
    /// Datagrams after which a turn hands out no further message, at least 1. Default 2,048.
    pub turn_datagrams_max: u32,
    /// SO_RCVBUF of every socket, in bytes, as far as the system allows. Default 4 MiB; 0 leaves it alone.
    pub socket_receive_bytes: u32,
    /// SO_SNDBUF of every socket, in bytes, as far as the system allows. Default 4 MiB; 0 leaves it alone.
    pub socket_send_bytes: u32,
    /// Of so many turns that send something, one is measured for [`Residence`](crate::Residence); 0: none,
    /// and the kernel is not asked for receive stamps. Stamped are the messages of sockets with ids below 32
    /// and of one in 16 of the others. Default 32.
    pub residence_turns: u32,
    /// Socket ids are below this. The io_uring back end also needs RLIMIT_NOFILE to be as large and takes
    /// what is allowed. Default 65,536.
    pub sockets_max: u32,
    /// SO_INCOMING_CPU of every socket: among sockets that share a port, the kernel gives a packet to the
    /// one that names the CPU it came in on. The core of the worker that owns the sockets. Default none.
    pub incoming_cpu: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            receive_buffers: 256,
            gso: true,
            zero_copy: false,
            gro: true,
            queue_datagrams_max: 262_144,
            turn_messages_max: 128,
            turn_datagrams_max: 2_048,
            socket_receive_bytes: 4 << 20,
            socket_send_bytes: 4 << 20,
            residence_turns: 32,
            sockets_max: 65_536,
            incoming_cpu: None,
        }
    }
}

impl Options {
    /// The same settings with everything rounded to what can be had.
    pub(crate) fn checked(&self) -> Result<Self, OpenError> {
        in_range("receive_buffers", self.receive_buffers, 2, 32_768)?;
        in_range("turn_messages_max", self.turn_messages_max, 1, u32::MAX)?;
        in_range("turn_datagrams_max", self.turn_datagrams_max, 1, u32::MAX)?;
        in_range("sockets_max", self.sockets_max, 1, 1 << 20)?;
        let receive_buffers = self.receive_buffers.next_power_of_two();
        let turn_messages_max = self.turn_messages_max.min(receive_buffers / 2);
        Ok(Self { receive_buffers, turn_messages_max, ..self.clone() })
    }
}

fn in_range(field: &'static str, value: u32, min: u32, max: u32) -> Result<(), OpenError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(OpenError::Option { field, value, min, max }) }
}

/// Why a back end could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A field of [`Options`] is out of range.
    #[error("option {field}: {value} is not within {min} to {max}")]
    Option {
        /// Name of the field.
        field: &'static str,
        /// What it was set to.
        value: u32,
        /// Smallest value allowed.
        min: u32,
        /// Largest value allowed.
        max: u32,
    },
    /// The kernel refused a step; `hint` names the likely cause.
    #[error("{step}: {source}{hint}")]
    Kernel {
        /// What was attempted, usually the name of the system call.
        step: &'static str,
        /// Likely cause in brackets, or empty.
        hint: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn kernel(step: &'static str) -> impl FnOnce(io::Error) -> OpenError {
        move |source| OpenError::Kernel { step, hint: "", source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_options_name_the_field() {
        let refused = Options { receive_buffers: 1, ..Options::default() }.checked();
        assert_eq!(
            refused.expect_err("one buffer is too few").to_string(),
            "option receive_buffers: 1 is not within 2 to 32768"
        );
        assert!(Options { turn_messages_max: 0, ..Options::default() }.checked().is_err());
    }

    #[test]
    fn buffers_are_rounded_up_and_half_of_them_stay_with_the_kernel() {
        let options = Options { receive_buffers: 33, turn_messages_max: 1000, ..Options::default() };
        let options = options.checked().expect("within the ranges");
        assert_eq!((options.receive_buffers, options.turn_messages_max), (64, 32));
    }
}
