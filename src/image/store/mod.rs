//! The layer store.
//!
//! ```text
//! store/
//!   version                      "1"
//!   lock                         shared: a layer is being made or used; exclusive: garbage collection
//!   layers/<name>.<layout>/      one unpacked layer; `layout` is `IdMap::layout()`
//!     fs/                        the tree, whiteouts as overlayfs has them
//!     layer.json                 LayerRecord; written last, so a directory without it is garbage
//!   host/                        metadata layers of the `host` base (see `base::host`)
//!   tmp/                         layers being made; each holds a locked file while its maker lives
//! ```
//!
//! A layer appears by one rename and is never changed afterwards.
