//! Pools of servers keyed by (database, user, role): limits, FIFO fairness, epochs.
