//! Whether a request fits its limits, decided and reserved in one step.

mod accounts;
mod breaker;
mod counter;
mod link;
mod local;
mod redis;
mod script;
mod store;
mod undone;

pub(crate) use local::LocalStore;
pub(crate) use redis::{InvalidAddress, RedisStore};
pub(crate) use store::{
    Admission, Admitted, Applied, Ask, Consumed, OutputAsk, QuotaStore, RENEWAL_INTERVAL, Reached,
    Reservation, Settlement, Standing, StoreClock, StoreFault,
};

#[cfg(test)]
mod tests;
