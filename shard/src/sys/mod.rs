//! Kernel calls that need `unsafe`; nothing outside this folder does.

pub(crate) mod bpf;
