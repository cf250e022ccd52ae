//! What every backend must do, as cases that run against any [`Store`](crate::Store).
