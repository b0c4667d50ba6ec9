//! Configuration: defaults, YAML, environment, overrides.
