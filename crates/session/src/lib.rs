//! One client's protocol state, pure: expected replies, transactions, prepared statements, parameters, lease end.
