//! What runs do, by the numbers of the contract.

mod crashes;
mod ends;
mod lives;
mod money;
mod secrets;
mod sights;
mod starts;
