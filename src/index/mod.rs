//! The index: derived from the files, rebuildable, never the truth.
