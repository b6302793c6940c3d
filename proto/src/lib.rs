//! The contract between the planes and with operators: generated types, their descriptors, and nothing else.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

mod redact;

/// Every schema of the contract as an encoded `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/signalbox.bin"));

/// The same schemas, decoded once, for work that is driven by descriptors.
pub static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the build script wrote these bytes with the same crates")]
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the embedded descriptor set decodes")
});

/// What operators say: `signalbox.admin.v1`.
pub mod admin {
    #[expect(
        missing_docs,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("signalbox.admin.v1");
    }
}

/// What data planes compile: `signalbox.config.v1`.
pub mod config {
    #[expect(missing_docs, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("signalbox.config.v1");
    }
}

/// What travels between the planes: `signalbox.sync.v1`.
pub mod sync {
    #[expect(missing_docs, clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("signalbox.sync.v1");
    }
}
