//! pgmesh's own SQL on the nodes: primary proof and lag.
