//! proxy.toml and the environment turned into each component's own Config.
