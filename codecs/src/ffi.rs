//! Foreign libraries, each behind safe types. The only unsafe code of the crate.

pub(crate) mod avcodec;
pub(crate) mod avfile;
pub(crate) mod avvideo;
pub(crate) mod openh264;
pub(crate) mod opus;
