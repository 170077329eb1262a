//! Media types of images: those of the OCI image specification and docker's of the same shape.

/// An image's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests, one per platform.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer, not compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer, gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer, zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's list of manifests.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// What may answer a request for a manifest.
pub const ACCEPTED: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST];

/// What a media type says that something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image's manifest.
    Manifest,
    /// An index, which docker calls a manifest list.
    Index,
    /// An image's configuration.
    Config,
    /// A layer; its first bytes tell how it is compressed.
    Layer,
    /// A layer that registries must not give away: it comes from the addresses in its descriptor.
    ForeignLayer,
    /// A manifest of docker's first schema, without a configuration and without digests of the content.
    Schema1,
    /// Anything else: an artifact, an attestation, a signature.
    Other,
}

/// Tells what `media_type` stands for; parameters (`; charset=utf-8`) do not count.
#[must_use]
pub fn kind(media_type: &str) -> Kind {
    match essence(media_type) {
        MANIFEST | DOCKER_MANIFEST => Kind::Manifest,
        INDEX | DOCKER_MANIFEST_LIST => Kind::Index,
        CONFIG | DOCKER_CONFIG => Kind::Config,
        LAYER
        | LAYER_GZIP
        | LAYER_ZSTD
        | DOCKER_LAYER_GZIP
        | "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Kind::Layer,
        "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Kind::ForeignLayer,
        "application/vnd.docker.distribution.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Kind::Schema1,
        _ => Kind::Other,
    }
}

/// `media_type` without parameters and white space.
#[must_use]
pub fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (text, expected) in [
            ("application/vnd.oci.image.manifest.v1+json; charset=utf-8", Kind::Manifest),
            ("application/vnd.docker.distribution.manifest.list.v2+json", Kind::Index),
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", Kind::Schema1),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Kind::Layer),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Kind::ForeignLayer),
            ("application/vnd.cncf.helm.config.v1+json", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
