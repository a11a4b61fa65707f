//! What is proven of the exchange and of tokens, with keys that are made here.

mod exchange;
mod sign;
mod token;
