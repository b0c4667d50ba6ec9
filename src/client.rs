//! Who sent a request: client kind, version and address.
