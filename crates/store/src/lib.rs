//! How the platform's data is kept: small traits, an embedded backend, and the suite every backend must pass.
